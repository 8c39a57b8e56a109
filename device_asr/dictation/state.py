"""What a live session delivers: events, notices, and a snapshot for read-outs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from device_asr.audio.level import Level
from device_asr.audio.live_source import NoticeKind
from device_asr.events import Event, Seconds
from device_asr.printable import printable

Phase = Literal["starting", "loading", "listening", "paused", "waiting", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something about the session, not about speech: `message` is one sentence for a person.

    `step` is the step of the slow-machine ladder in force: 0 all, 1 longer partial interval, 2 finals only.
    """

    kind: NoticeKind
    message: str
    step: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", printable(self.message))  # it names devices and files


@dataclass(frozen=True, slots=True)
class Delivery:
    """One thing handed to the listener.

    event: an event of the recognizer, or a Notice.
    wall: `time.monotonic()` at which it was handed over.
    compute: seconds of computation behind it (0 for what costs nothing).
    cut_short: a pause of the session, an unplugging or the end of the audio ended the utterance, without
        hang-over (an argument of `LatencyMeter.add`).
    """

    event: Event | Notice
    wall: Seconds
    compute: Seconds = 0.0
    cut_short: bool = False


@dataclass(frozen=True, slots=True)
class LiveState:
    """A snapshot for read-outs; cheap enough to take 30 times a second.

    phase: what the session does now; "waiting" means that no device is there, "loading" also that the recognizer's
        process has died and is started again.
    device, rate: the source's name and its own rate in Hz, before resampling.
    muted: silence is fed instead of audio.
    level: of the last 100 ms captured, also while the recognizer is busy or loading.
    speech_probability: the voice activity detector's last value in [0, 1].
    overflows: pieces of audio lost (overflow, unplugged). lost: seconds of all audio that became no text (AudioGap).
    backlog, queue: audio captured and not yet fed to the recognizer, in seconds and in steps of 32 ms.
    behind: the backlog when it exceeds the slow-machine threshold, else 0 ("behind by N s"); 0 while loading.
    step, partial_interval: the slow-machine step in force and its interval (None: finals only).
    elapsed: seconds of audio fed to the recognizer.
    wall_elapsed: seconds since `start`, pauses included.
    load: seconds from `start` until the recognizer was loaded, None until then.
    compute: seconds spent in the recognizer; `compute / elapsed` is the RTF.
    error: one sentence where phase is "failed".
    """

    phase: Phase
    device: str
    rate: int
    muted: bool
    level: Level
    speech_probability: float
    overflows: int
    lost: Seconds
    backlog: Seconds
    queue: int
    behind: Seconds
    step: int
    partial_interval: Seconds | None
    elapsed: Seconds
    wall_elapsed: Seconds
    load: Seconds | None
    compute: Seconds
    error: str | None
