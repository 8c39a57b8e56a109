"""The live session's view of a source: it captures by itself, can pause, and reports on its device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, Protocol

from device_asr.audio.level import Level
from device_asr.audio.source import AudioChunk
from device_asr.events import Seconds

NoticeKind = Literal[
    "device_opened",  # audio comes from a device (first opening, switch, or return)
    "device_lost",  # unplugged or stalled; the utterance so far is finished as a Final
    "device_waiting",  # no device of the list is there; looking again every second
    "model_ready",  # the recognizer is loaded and works off the audio captured before
    "recognizer_died",  # its process has ended; another one goes on where it was
    "behind",  # a step was taken because the machine is too slow (`step` went up)
    "recovered",  # a step was taken back (`step` went down)
    "paused",
    "resumed",
    "muted",
    "unmuted",
    "source_ended",
]


class LiveSource(Protocol):
    """A Source that captures by itself: `MicrophoneSource`, `RealtimeSource`.

    It delivers an empty chunk with a `reason` where an utterance must end (paused, unplugged).

    name, rate: of the device in use; may change while running.
    backlog: seconds captured and not yet delivered.
    overflows: times audio was lost so far.
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
        """Begins to capture, so that nothing is lost while the recognizer loads; DeviceError."""
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
