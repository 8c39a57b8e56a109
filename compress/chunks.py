"""Hearing in chunks: what a position may attend to, and how loud the past was.

The streaming mode of the encoder. Positions come in chunks; each chunk attends to itself and to a limited
past, and is heard once. `compress/streaming.py` holds the same as a program with state.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from device_asr.errors import UsageError

MASKED = -1e4  # added to a score that must not be attended to; exp underflows to 0 in float32


@dataclass(frozen=True)
class Chunking:
    """size: positions of 20 ms heard at once. left: positions of the past that they attend to."""

    size: int = 16
    left: int = 250

    def __post_init__(self) -> None:
        if self.size < 1 or self.left < 0:
            raise UsageError(f"Chunks: wanted at least 1 position and a past of at least 0, found {self.size} and "
                             f"{self.left}.")


def chunk_mask(count: int, chunking: Chunking, device: torch.device | str = "cpu") -> Tensor:
    """(count, count) to be added to scores: 0 where a position (row) may attend to another, else MASKED."""
    at = torch.arange(count, device=device)
    start = at // chunking.size * chunking.size
    seen = (at[None] >= start[:, None] - chunking.left) & (at[None] < start[:, None] + chunking.size)
    return torch.where(seen, 0.0, MASKED)
