"""Hearing in chunks: what a position may attend to, and how loud the past was.

The streaming mode of the encoder. Positions come in chunks; each chunk attends to itself, to a limited past
and, where it may look ahead, to the chunks after it. Those are heard with it for the moment and again as
chunks of their own, as the right context of Emformer (Shi et al. 2021): the look-ahead stays the same
however many layers there are. `compress/streaming.py` holds the same as a program with state.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

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
            raise UsageError(
                "Chunks: wanted at least 1 position, a past of at least 0 and at least 0 chunks ahead, "
                f"found {self.size}, {self.left} and {self.ahead}."
            )

    @property
    def block(self) -> int:
        """Positions that are computed together."""
        return self.size * (1 + self.ahead)


def chunked(count: int, chunking: Chunking, device: torch.device | str = "cpu") -> Tensor:
    """(chunks, left + block) int64: the positions that each chunk's attention reads when `count` are heard so.

    Its block's are the last ones: its own, and those ahead that it hears for the moment. Below 0 and from `count`
    on there is nothing to read.
    """
    starts = torch.arange(0, count, chunking.size, device=device)[:, None]
    return starts + torch.arange(-chunking.left, chunking.block, device=device)


def with_past(parts: Tensor, chunking: Chunking) -> Tensor:
    """Keys or values of every chunk's block with those of the past before them.

    Args:
        parts: (..., chunks, block), of which the first `size` are the chunk's own.

    Returns:
        (..., chunks, left + block); zeros before the first.
    """
    if chunking.left == 0:
        return parts
    own = parts[..., : chunking.size].flatten(-2)
    past = nn.functional.pad(own, (chunking.left, 0)).unfold(-1, chunking.left, chunking.size)
    return torch.cat([past[..., : parts.shape[-2], :], parts], dim=-1)


def for_good(states: Tensor, chunking: Chunking) -> Tensor:
    """(batch, chunks, block, state) -> (batch, chunks * size, state): what is not heard again."""
    return states[:, :, : chunking.size].flatten(1, 2)
