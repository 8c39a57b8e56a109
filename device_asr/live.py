"""The live session: sound from a source, through the recogniser, to a listener, on its own thread.

`device-asr listen` and the terminal interface both stand on `LiveSession`; neither touches the
microphone or the recogniser itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from device_asr.config import Config
from device_asr.events import Event, Seconds
from device_asr.level import Level
from device_asr.recognizer import Recognizer
from device_asr.sources import AudioChunk

Phase = Literal["starting", "loading", "listening", "paused", "waiting", "stopped", "failed"]
NoticeKind = Literal[
    "device_opened",  # sound comes from a device (first opening, switch, or return)
    "device_lost",    # unplugged or stalled; the phrase so far is finished as a Final
    "device_waiting", # no device of the list is there; looking again every second
    "model_ready",    # the recogniser is loaded; sound heard before is being caught up on
    "behind",         # a step was taken because the machine is too slow (`step` went up)
    "recovered",      # a step was taken back (`step` went down)
    "paused", "resumed", "muted", "unmuted", "source_ended",
]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something about the session, not about speech: `message` is one sentence for a person.

    `step` is the step of the slow-machine ladder in force: 0 all, 1 longer partial interval, 2 finals only.
    """

    kind: NoticeKind
    message: str
    step: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One thing handed to the listener.

    event: what the recogniser said, or a Notice.
    wall: `time.monotonic()` at which it was handed over.
    compute: seconds of computation behind it (0 for what costs nothing).
    """

    event: Event | Notice
    wall: Seconds
    compute: Seconds = 0.0


@dataclass(frozen=True, slots=True)
class LiveState:
    """A snapshot for read-outs; cheap enough to take 30 times a second.

    phase: what the session does now; "waiting" means that no device is there.
    device, rate: the source's name and its own rate in Hz, before resampling.
    muted: silence is fed instead of sound.
    level: of the last 100 ms captured, also while the recogniser is busy or loading.
    speech_probability: the voice activity detector's last value in [0, 1].
    overflows, lost: pieces of sound lost (overflow, unplugged) and their seconds.
    backlog, queue: sound captured and not yet heard, in seconds and in chunks of 32 ms.
    behind: the backlog when it exceeds the slow-machine threshold, else 0 ("behind by N s").
    step, partial_interval: the slow-machine step in force and its interval (None: finals only).
    elapsed: seconds of sound fed to the recogniser.
    wall_elapsed: seconds since `start`, pauses included.
    load: seconds that loading the recogniser took, None until it is loaded.
    compute: seconds spent in the recogniser; `compute / elapsed` is the RTF.
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


class LiveSource(Protocol):
    """A Source that captures by itself: `MicrophoneSource`, `RealtimeSource`.

    It delivers an empty chunk with a `reason` where a phrase must end (paused, unplugged).

    name, rate: of the device in use; may change while running.
    backlog: seconds captured and not yet delivered.
    overflows: times sound was lost so far.
    waiting: no device is there.
    on_notice: called as `on_notice(kind, message)` from any thread; set before `start`.
    """

    name: str
    rate: int
    on_notice: Callable[[NoticeKind, str], None] | None

    @property
    def backlog(self) -> Seconds: ...
    @property
    def overflows(self) -> int: ...
    @property
    def waiting(self) -> bool: ...

    def start(self) -> None:
        """Begins to capture, so that nothing is lost while the recogniser loads; DeviceError."""
        ...

    def __iter__(self) -> Iterator[AudioChunk]: ...

    def level(self) -> Level: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def select(self, device: str) -> None:
        """Changes to another device (index or part of its name); DeviceError where there is none."""
        ...

    def close(self) -> None:
        """Stops capturing; what was captured is still delivered, then the iteration ends."""
        ...


class LiveSession:
    """One run from the first sound to the last text.

    Args:
        source: where sound comes from; the session starts and closes it.
        make_recognizer: loads the recogniser; called once, on the worker thread, after capture began.
        config: `config.partial` gives the normal interval of partials.
        on_event: gets every Delivery in order, from the worker thread (a "device_*" Notice comes from
            the source's thread); it must return quickly and must not call `stop`. In Textual:
            `lambda d: app.call_from_thread(...)` blocks, so prefer `app.post_message`.
        on_audio: gets each AudioChunk as it is fed (16 kHz, zeros where muted), for recording.
    """

    def __init__(self, source: LiveSource, make_recognizer: Callable[[], Recognizer], config: Config,
                 on_event: Callable[[Delivery], None], *,
                 on_audio: Callable[[AudioChunk], None] | None = None) -> None:
        self.source = source
        self.config = config

    def start(self) -> None:
        """Starts capture, then the worker, and returns; DeviceError where there is no microphone."""

    def pause(self) -> None:
        """Stops listening: what was said before is finished as a Final, later sound is thrown away."""

    def resume(self) -> None:
        """Listens again."""

    def mute(self, muted: bool = True) -> None:
        """Feeds silence instead of sound; time goes on and the phrase ends by itself."""

    def select_device(self, device: str) -> None:
        """Changes the microphone; the phrase so far is finished. DeviceError where there is none."""

    def stop(self, timeout: Seconds | None = None) -> bool:
        """Closes the source, hears what was captured, finishes the phrase, joins the worker.

        Idempotent. Returns False where `timeout` seconds were not enough (a later call may go on).
        """
        return True

    def abort(self) -> None:
        """Closes the source and lets go of what is not heard yet; does not wait."""

    def wait(self, timeout: Seconds | None = None) -> bool:
        """Waits until the session has ended by itself (end of a file, failure) or was stopped."""
        return True

    @property
    def state(self) -> LiveState:
        """The read-outs of this moment; never blocks on the recogniser."""
        raise NotImplementedError

    def wall_time(self, audio: Seconds) -> Seconds:
        """`time.monotonic()` at which the sample at `audio` seconds was captured; for latencies.

        Raises:
            ValueError: nothing has been heard yet.
        """
        raise NotImplementedError
