"""How long a text of Moonshine can be."""

from __future__ import annotations

import math

from compress.networks.label import LONGEST
from compress.networks.moonshine.frontend import OVERHANG, SAMPLES_PER_POSITION
from device_asr.audio.format import SAMPLE_RATE

TOKENS_PER_SECOND = 6.5  # its makers stop there; 6.2 was the most on 133 clips of speech


def longest(positions: int) -> int:
    """Most tokens of the text of so many positions."""
    seconds = (positions * SAMPLES_PER_POSITION + OVERHANG) / SAMPLE_RATE
    return min(LONGEST, math.ceil(TOKENS_PER_SECOND * seconds))
