"""A preallocated ring of audio between an audio callback and the thread that reads it.

One writer, one reader, no lock: each moves only its own index, and an index is published after the
samples it covers. What does not fit is counted and its place kept, never written over older audio.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

CELL = 256  # frames that share one capture time


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One read: (n,) float32 `pcm` (n may be 0).

    captured: `time.monotonic()` at which its last sample existed. lost: seconds lost just before it.
    """

    pcm: np.ndarray
    captured: float
    lost: float


class Ring:
    """Holds at least `seconds` of mono float32 audio at `rate` Hz."""

    def __init__(self, seconds: float, rate: int) -> None:
        cells = -(-int(seconds * rate) // CELL)
        self.rate = rate
        self.capacity = cells * CELL
        self.losses = 0
        self._pcm = np.zeros(self.capacity, np.float32)
        # wall clock minus stream clock, per cell; touched here so that no page fault falls into a callback
        self._offsets = np.zeros(cells)
        self._written = 0
        self._read = 0
        self._pending = 0  # frames lost since the last frame that was taken
        self._gaps: deque[tuple[int, int]] = deque()  # (position, frames lost just before it)

    @property
    def available(self) -> int:
        """Frames written and not yet read."""
        return self._written - self._read

    def write(self, pcm: np.ndarray, captured: float) -> int:
        """Takes what fits of (n,) `pcm`, whose last sample existed at `captured`; returns how many frames.

        Called by the writer alone. The rest is counted as lost.
        """
        size = len(pcm)
        start = self._written
        taken = min(size, self.capacity - (start - self._read))
        if taken:
            if self._pending:
                self._gaps.append((start, self._pending))
                self._pending = 0
            at = start % self.capacity
            head = min(taken, self.capacity - at)
            self._pcm[at : at + head] = pcm[:head]
            self._pcm[: taken - head] = pcm[head:taken]
            self._stamp(start, start + taken, captured - (start + size) / self.rate)
            self._written = start + taken
        if taken < size:
            self.lose(size - taken)
        return taken

    def lose(self, frames: int) -> None:
        """Counts `frames` lost before the next write. Called by the writer alone."""
        if self._pending == 0:
            self.losses += 1
        self._pending += frames

    def _stamp(self, start: int, end: int, offset: float) -> None:
        cells = len(self._offsets)
        first, last = start // CELL, (end - 1) // CELL
        if last - first + 1 >= cells:
            self._offsets[:] = offset
            return
        a, b = first % cells, last % cells
        if a <= b:
            self._offsets[a : b + 1] = offset
        else:
            self._offsets[a:] = offset
            self._offsets[: b + 1] = offset

    def read(self, most: int) -> Piece | None:
        """The next at most `most` frames up to the next loss, or None where nothing waits.

        Called by the reader alone.
        """
        start = self._read
        size = min(most, self._written - start)
        if size == 0:
            return None
        lost = 0
        if self._gaps and self._gaps[0][0] == start:  # recorded before the frames after it are published
            lost = self._gaps.popleft()[1]
        if self._gaps:
            size = min(size, self._gaps[0][0] - start)
        pcm = np.empty(size, np.float32)
        at = start % self.capacity
        head = min(size, self.capacity - at)
        pcm[:head] = self._pcm[at : at + head]
        pcm[head:] = self._pcm[: size - head]
        end = start + size
        captured = self._offsets[(end - 1) // CELL % len(self._offsets)] + end / self.rate
        self._read = end
        return Piece(pcm, float(captured), lost / self.rate)

    def trailing_loss(self) -> float:
        """Seconds lost after the last frame; for the reader, once the writer has ended."""
        return self._pending / self.rate

    def latest(self, frames: int) -> np.ndarray:
        """A copy of the newest at most `frames` frames, read or not; for meters, from any thread."""
        end = self._written
        size = min(frames, end, self.capacity)
        index = np.arange(end - size, end) % self.capacity
        return self._pcm[index]
