"""How loud a piece of audio is: peak, RMS and clipping, for the meters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

FLOOR_DB = -96.0  # dBFS shown for digital silence: the step of 16 bit audio
CLIP = 0.999  # full scale; 16 bit converters stop at 32767 / 32768 = 0.99997


@dataclass(frozen=True, slots=True)
class Level:
    """Linear `peak` and `rms` in [0, 1]; `clipped`: a sample reached full scale."""

    peak: float = 0.0
    rms: float = 0.0
    clipped: bool = False

    @property
    def peak_db(self) -> float:
        """The peak in dBFS, at least `FLOOR_DB`."""
        return to_db(self.peak)

    @property
    def rms_db(self) -> float:
        """The RMS in dBFS, at least `FLOOR_DB`."""
        return to_db(self.rms)


def to_db(amplitude: float) -> float:
    """`amplitude` in [0, 1] as dBFS, at least `FLOOR_DB`."""
    return max(FLOOR_DB, 20 * math.log10(amplitude)) if amplitude > 0 else FLOOR_DB


def measure(pcm: np.ndarray) -> Level:
    """The level of (n,) float32 PCM; silence for an empty piece."""
    if pcm.size == 0:
        return Level()
    peak = float(max(pcm.max(), -pcm.min()))
    return Level(min(peak, 1.0), min(float(np.sqrt(np.mean(np.square(pcm)))), 1.0), peak >= CLIP)
