"""The minute of speech that is measured: a clip that the package brings, so that every machine hears the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from device_asr.audio.file import FileSource
from device_asr.audio.format import SAMPLE_RATE
from device_asr.events import Seconds

CLIP = Path(__file__).with_name("speech.ogg")  # the repository's letter, long sentence and timer, Opus
MINUTE: Seconds = 60.0


def minute(clip: Path = CLIP, seconds: Seconds = MINUTE) -> np.ndarray:
    """`clip` from its beginning, repeated until `seconds` are full: (n,) float32, 16 kHz mono.

    Raises:
        AudioError: the clip is missing or cannot be read.
    """
    pcm = np.concatenate([np.zeros(0, np.float32), *(chunk.pcm for chunk in FileSource(clip))])
    wanted = int(seconds * SAMPLE_RATE)
    return np.resize(pcm, wanted)
