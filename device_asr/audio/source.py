"""Where audio comes from: each source is an iterator of `AudioChunk`, 16 kHz mono."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class AudioChunk:
    """A piece of audio.

    pcm: (n,) float32 in [-1, 1], 16 kHz mono.
    start: seconds of audio delivered before it (lost audio not counted).
    captured: `time.monotonic()` at which its last sample existed; for a file that is not played in
        real time, when it was read.
    lost: seconds of audio lost just before it (0 as a rule), with `reason`.
    """

    pcm: np.ndarray
    start: float
    captured: float
    lost: float = 0.0
    reason: str = ""


class Source(Protocol):
    """An iterator of chunks that can be closed from another thread."""

    name: str

    def __iter__(self) -> Iterator[AudioChunk]: ...

    def close(self) -> None: ...
