"""Any source in real time, as if someone were speaking now."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from device_asr.audio.format import SAMPLE_RATE, STEP
from device_asr.audio.level import Level, measure
from device_asr.audio.source import AudioChunk, Source
from device_asr.errors import DeviceError
from device_asr.events import Seconds


class RealtimeSource:
    """A `LiveSource` over another source, such as `FileSource`; each chunk appears when it would be spoken.

    A chunk is held back until its last sample has been "spoken". Where the reader is late, audio waits
    without limit and nothing is lost; `captured` is still the time when it was spoken.
    """

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self.rate = SAMPLE_RATE
        self.on_notice: Callable[..., None] | None = None
        self.overflows = 0
        self.waiting = False
        self._source = source
        self._changed = threading.Condition()
        self._zero: float | None = None  # monotonic time of the first sample
        self._paused_at: float | None = None
        self._closed_at: float | None = None
        self._delivered = 0  # samples
        self._ended = False
        self._level = Level()

    def start(self) -> None:
        """Begins to play; chunks are read from the source as they are asked for."""
        self._zero = time.monotonic()

    @property
    def backlog(self) -> Seconds:
        """Seconds "spoken" and not yet delivered, of a source that has not ended."""
        if self._zero is None or self._ended:
            return 0.0
        return max(0.0, self._now() - self._zero - self._delivered / SAMPLE_RATE)

    def level(self) -> Level:
        """The level of the chunk delivered last."""
        return Level() if self._paused_at is not None or self._ended else self._level

    def pause(self) -> None:
        """Stands still; an empty chunk marks the place."""
        with self._changed:
            if self._paused_at is None:
                self._paused_at = time.monotonic()
            self._changed.notify_all()

    def resume(self) -> None:
        """Plays on from where it stood."""
        with self._changed:
            if self._paused_at is not None and self._zero is not None:
                self._zero += time.monotonic() - self._paused_at
            self._paused_at = None
            self._changed.notify_all()

    def select(self, device: str) -> None:
        """A file has no device to change.

        Raises:
            DeviceError: always.
        """
        raise DeviceError(
            f"{self.name} is being played, so the microphone cannot be changed to {device!r}; "
            "start without a file to use one."
        )

    def close(self) -> None:
        """Stops playing; what was "spoken" until now is still delivered."""
        with self._changed:
            if self._closed_at is None:
                self._closed_at = self._now()
            self._changed.notify_all()

    def _now(self) -> float:
        """The time up to which audio exists."""
        return min(t for t in (time.monotonic(), self._paused_at, self._closed_at) if t is not None)

    def __iter__(self) -> Iterator[AudioChunk]:
        if self._zero is None:
            self.start()
        try:
            for chunk in self._source:
                for at in range(0, max(1, chunk.pcm.size), STEP):
                    pcm = chunk.pcm[at : at + STEP]
                    yield from self._pauses_until(pcm.size)
                    due = self._due(pcm.size)
                    if self._closed_at is not None and due > self._closed_at:
                        return
                    start = self._delivered / SAMPLE_RATE
                    self._delivered += pcm.size
                    self._level = measure(pcm)
                    lost, reason = (chunk.lost, chunk.reason) if at == 0 else (0.0, "")
                    yield AudioChunk(pcm, start, due, lost, reason)
        finally:
            self._ended = True
            self._source.close()

    def _due(self, samples: int) -> float:
        return (self._zero or 0.0) + (self._delivered + samples) / SAMPLE_RATE

    def _pauses_until(self, samples: int) -> Iterator[AudioChunk]:
        """Waits until the next `samples` were spoken, or playing was closed; yields a boundary for each pause."""
        marked = False
        while True:
            boundary = False
            with self._changed:
                due = self._due(samples)
                if self._closed_at is not None or self._now() >= due:
                    return
                if self._paused_at is None:
                    marked = False
                    self._changed.wait(due - time.monotonic())
                elif marked:
                    self._changed.wait()
                else:
                    marked = boundary = True
            if boundary:
                yield AudioChunk(np.zeros(0, np.float32), self._delivered / SAMPLE_RATE, self._now(), reason="paused")
