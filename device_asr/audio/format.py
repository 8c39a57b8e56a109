"""The form of audio everywhere: 16 kHz mono float32, taken in steps of 32 ms."""

from __future__ import annotations

SAMPLE_RATE = 16_000  # Hz; the rate of every chunk and of every program
STEP = 512  # samples: one step of the voice activity detector, and what a microphone gives at a time
STEP_S = STEP / SAMPLE_RATE  # seconds: 0.032
STEP_MS = 1000 * STEP // SAMPLE_RATE  # 32
