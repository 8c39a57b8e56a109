"""A whole clip in memory, as a benchmark wants it: reading and resampling stay out of what is timed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from device_asr.errors import AudioError
from device_asr.sources import SAMPLE_RATE


def read_sound(path: Path) -> np.ndarray:
    """(n,) float32 in [-1, 1], 16 kHz mono, of anything libsndfile reads.

    Raises:
        AudioError: missing, unreadable, or empty.
    """
    import soundfile

    try:
        pcm, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise AudioError(f"{path} cannot be read as sound: {error}; convert it to wav or flac.") from None
    mono = pcm.mean(axis=1)
    if rate != SAMPLE_RATE:
        import soxr

        mono = soxr.resample(mono, rate, SAMPLE_RATE).astype(np.float32)
    if not mono.size:
        raise AudioError(f"{path} holds no sound; leave it out of the manifest.")
    return mono
