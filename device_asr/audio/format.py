"""What audio is here: 16 kHz mono, in steps of 32 ms."""

from __future__ import annotations

SAMPLE_RATE = 16_000  # Hz; the rate of every chunk and of every program
