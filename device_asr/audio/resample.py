"""Blocks of any rate and channel count to 16 kHz mono."""

from __future__ import annotations

import numpy as np

from device_asr.audio.format import SAMPLE_RATE

SHORTEST_S = 0.1  # no word is shorter


class Converter:
    """Blocks of any rate and channel count to 16 kHz mono; bad samples are counted and replaced.

    Args:
        rate: Hz, 1000 to 768000.
    """

    def __init__(self, rate: int) -> None:
        self._rate, self._resample = rate, None
        if rate != SAMPLE_RATE:
            import soxr

            self._resample = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32").resample_chunk
        self.samples = self.clipped = self.broken = 0
        self.peak = 0.0

    def __call__(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """(n, channels) or (n,) float32 -> (m,) float32."""
        with np.errstate(over="ignore", invalid="ignore"):  # infinite samples are counted below
            mono = block.mean(axis=1) if block.ndim == 2 else block
        finite = np.isfinite(mono)
        if not finite.all():
            self.broken += int((~finite).sum())
            mono = np.where(finite, mono, 0.0)
        mono = mono.astype(np.float32, copy=False)
        if len(mono):
            level = np.abs(mono)
            self.peak = max(self.peak, float(level.max()))
            self.clipped += int((level >= 0.999).sum())
        self.samples += len(mono)
        mono = np.clip(mono, -1.0, 1.0)
        return mono if self._resample is None else self._resample(mono, last=last)

    def notes(self, name: str, *, cut: bool = False) -> list[str]:
        """Sentences about oddities of the audio, for standard error; `cut`: the caller reports that it is short."""
        if not cut and 0 < self.samples < SHORTEST_S * self._rate:
            return [
                f"{name}: {self.samples} sample{'s' * (self.samples > 1)} of audio "
                f"({1000 * self.samples / self._rate:.2g} ms), too short for a word; is it the right file?"
            ]
        found = []
        if self.broken:
            found.append(f"{name}: {self.broken} samples were NaN or infinite and were taken as silence.")
        elif self.samples and self.peak == 0.0:
            found.append(f"{name}: digital silence from end to end; is it the right file or channel?")
        if self.samples and self.clipped > 0.001 * self.samples:
            found.append(
                f"{name}: {100 * self.clipped / self.samples:.1f} % of the samples are clipped; "
                "expect errors, and record with less gain."
            )
        return found
