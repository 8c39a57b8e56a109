"""From the audio clock to the wall clock: when a given sample was captured."""

from __future__ import annotations

import threading

import numpy as np

from device_asr.events import Seconds

ANCHORS = 32_768  # kept at most: 17 minutes of 32 ms chunks in 0.5 MB; more than the longest ring holds


class AudioClock:
    """Anchors (audio time, `time.monotonic()`), one a chunk; one thread adds them, any thread may read."""

    def __init__(self) -> None:
        self._audio = np.zeros(ANCHORS)
        self._wall = np.zeros(ANCHORS)
        self._size = 0
        self._lock = threading.Lock()

    def add(self, audio: Seconds, wall: Seconds) -> None:
        """Adds a chunk: its end, at `audio` seconds, existed at `wall`. `audio` only grows."""
        with self._lock:
            if self._size == ANCHORS:  # forget the older half
                half = ANCHORS // 2
                self._audio[:half] = self._audio[half:]
                self._wall[:half] = self._wall[half:]
                self._size = half
            self._audio[self._size] = audio
            self._wall[self._size] = wall
            self._size += 1

    def wall(self, audio: Seconds) -> Seconds:
        """`time.monotonic()` at which the sample at `audio` seconds existed.

        Inside a chunk the time counts back from the chunk's end; after the last chunk it counts on from there.

        Raises:
            ValueError: no chunk was added yet.
        """
        with self._lock:
            if self._size == 0:
                raise ValueError("wanted a time of audio that was captured, but nothing has been captured yet")
            at = int(np.searchsorted(self._audio[: self._size], audio - 1e-9))
            at = min(at, self._size - 1)
            return float(self._wall[at] + (audio - self._audio[at]))
