"""The test of a microphone: records for a while and gives a verdict on the level."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from device_asr.audio.level import Level
from device_asr.audio.microphone import MicrophoneSource
from device_asr.config import AudioConfig
from device_asr.errors import DeviceError
from device_asr.events import Seconds

SILENCE_AFTER: Seconds = 3.0  # of digital silence
DIGITAL_SILENCE = 2.0**-16  # under half a step of 16 bit audio
SILENT = "silent: muted, or the wrong source?"
TICK: Seconds = 0.05


class LevelTest:
    """The verdict on a microphone from its levels: the loudest so far, clipping, and digital silence."""

    def __init__(self) -> None:
        self.peak_db = self.rms_db = float("-inf")
        self.clipped = False
        self.silent = False
        self._silent_since: float | None = None

    def add(self, level: Level, now: float) -> None:
        """Takes the level of the audio up to `now` (monotonic seconds)."""
        self.peak_db = max(self.peak_db, level.peak_db)
        self.rms_db = max(self.rms_db, level.rms_db)
        self.clipped |= level.clipped
        if level.peak >= DIGITAL_SILENCE:
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = now
        self.silent = self._silent_since is not None and now - self._silent_since >= SILENCE_AFTER

    def verdict(self) -> str:
        """One word or sentence for a person."""
        if self.silent:
            return SILENT
        if self.clipped:
            return "clipped: turn the microphone down"
        return "ok"


@dataclass(frozen=True)
class MeasuredLevel:
    """A microphone by its name, and what the test found."""

    name: str
    result: LevelTest


def record_level(
    audio: AudioConfig,
    seconds: Seconds | None,
    show: Callable[[str, Level, LevelTest], None] | None = None,
) -> MeasuredLevel:
    """Records the microphone that would be used for `seconds`; None: until Ctrl-C.

    Args:
        show: takes the microphone's name, each level and the test so far, 20 times a second.

    Raises:
        DeviceError: there is no microphone, or it was unplugged meanwhile.
    """
    source = MicrophoneSource(audio)
    source.start()
    test = LevelTest()
    end = time.monotonic() + seconds if seconds else float("inf")
    try:
        while time.monotonic() < end:
            time.sleep(TICK)
            if source.waiting:
                raise DeviceError(f"{source.name} is gone; `device-asr devices` lists what is there.")
            level = source.level()
            test.add(level, time.monotonic())
            if show is not None:
                show(source.name, level, test)
    except KeyboardInterrupt:
        if seconds:
            raise
    finally:
        source.close()
    return MeasuredLevel(source.name, test)
