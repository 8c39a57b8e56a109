"""Hearing in chunks: what a position may attend to, and how loud the past was.

The streaming mode of the encoder. Positions come in chunks; each chunk attends to itself, to a limited past
and, where it may look ahead, to the chunks after it. Those are heard with it for the moment and again as
chunks of their own, as the right context of Emformer (Shi et al. 2021): the look-ahead stays the same
however many layers there are. `compress/streaming.py` holds the same as a program with state.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from device_asr.errors import UsageError

MASKED = -1e4  # added to a score that must not be attended to; exp underflows to 0 in float32


@dataclass(frozen=True)
class Chunking:
    """What a chunk of `size` positions of 20 ms attends to: itself, `left` positions before, `ahead` chunks after."""

    size: int = 16
    left: int = 250
    ahead: int = 1

    def __post_init__(self) -> None:
        if self.size < 1 or self.left < 0 or self.ahead < 0:
            raise UsageError("Chunks: wanted at least 1 position, a past of at least 0 and at least 0 chunks ahead, "
                             f"found {self.size}, {self.left} and {self.ahead}.")

    @property
    def block(self) -> int:
        """Positions that are computed together."""
        return self.size * (1 + self.ahead)


def chunked(count: int, chunking: Chunking, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """What the layers compute when `count` positions are heard in chunks.

    Returns:
        positions (n,) int64: all `count`, then those heard ahead, chunk by chunk; and a mask (n, n) to be
        added to scores: 0 where one of them (row) may attend to another, else MASKED.
    """
    own = torch.arange(count, device=device)
    chunk = own // chunking.size
    first = torch.arange(0, count, chunking.size, device=device)[:, None] + chunking.size
    later = first + torch.arange(chunking.ahead * chunking.size, device=device)
    heard = later < count
    at = torch.cat([own, later[heard]])
    of = torch.cat([chunk, torch.arange(len(first), device=device)[:, None].expand_as(later)[heard]])
    is_own = torch.arange(len(at), device=device) < count
    start = of[:, None] * chunking.size
    past = is_own & (at >= start - chunking.left) & (at < start + chunking.size)
    return at, torch.where(past | (~is_own & (of == of[:, None])), 0.0, MASKED)
