"""The audio of a session beside its text: 16 kHz, mono, 16 bit WAV."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import numpy as np

from device_asr.audio.format import SAMPLE_RATE
from device_asr.events import Seconds

FLUSH_S: Seconds = 1.0  # a killed recording loses at most this much


def _private(name: str, flags: int) -> int:
    """Opens the file for its owner alone, like the text beside it."""
    return os.open(name, flags, 0o600)


class Recording:
    """A WAV file whose header has its true length after every flush, so that a kill leaves it readable."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb", opener=_private)  # noqa: SIM115
        self._wave = wave.open(self._file, "wb")  # noqa: SIM115
        self._wave.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        self._pending: list[np.ndarray] = []
        self._samples = 0

    def write(self, pcm: np.ndarray) -> None:
        """Appends (n,) float32 in [-1, 1]."""
        self._pending.append(pcm)
        self._samples += len(pcm)
        if self._samples >= FLUSH_S * SAMPLE_RATE:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            pcm = np.concatenate(self._pending)
            self._pending, self._samples = [], 0
            self._wave.writeframes(np.clip(np.round(pcm * 32768), -32768, 32767).astype("<i2").tobytes())
            self._file.flush()

    def close(self) -> None:
        """Writes the rest."""
        try:
            self._flush()
            self._wave.close()
        finally:
            self._file.close()
