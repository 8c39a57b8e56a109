"""Encoding in chunks: which positions a chunk of the streaming encoder attends to.

Positions come in chunks. Each chunk attends to itself, to a limited left context and, where it has a
look-ahead, to the chunks after it. The look-ahead is encoded with the chunk provisionally and encoded again as
chunks of its own, as the right context of Emformer (Shi et al. 2021): so the look-ahead stays the same
however many layers there are. A family's stream program computes the same positions with explicit state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compress.networks.masks import MASKED
from device_asr.errors import UsageError

GROUP = 32  # chunks whose left contexts are read together


@dataclass(frozen=True)
class Chunking:
    """What a chunk attends to.

    size: positions of a chunk. left_context: positions before it. look_ahead: whole chunks after it.
    """

    size: int = 16
    left_context: int = 250
    look_ahead: int = 1

    def __post_init__(self) -> None:
        if self.size < 1 or self.left_context < 0 or self.look_ahead < 0:
            raise UsageError(
                "Chunks: wanted at least 1 position of size, a left_context of at least 0 positions and a "
                f"look_ahead of at least 0 chunks, found {self.size}, {self.left_context} and {self.look_ahead}."
            )

    @property
    def block(self) -> int:
        """Positions that are computed together: a chunk and its look-ahead."""
        return self.size * (1 + self.look_ahead)


def attended(count: int, chunking: Chunking, device: torch.device | str = "cpu") -> Tensor:
    """(chunks, left_context + block) int64: the positions that the attention of each chunk reads, of `count`.

    The last `block` of them are the chunk's own and its look-ahead. Below 0 and from `count` on there is
    nothing to read.
    """
    starts = torch.arange(0, count, chunking.size, device=device)[:, None]
    return starts + torch.arange(-chunking.left_context, chunking.block, device=device)


def with_left_context(parts: Tensor, chunking: Chunking) -> Tensor:
    """Keys or values of every chunk's block, with those of its left context before them.

    Args:
        parts: (..., chunks, block), of which the first `size` are the chunk's own.

    Returns:
        (..., chunks, left_context + block); zeros before the first.
    """
    left = chunking.left_context
    if left == 0:
        return parts
    own = parts[..., : chunking.size].flatten(-2)
    context = nn.functional.pad(own, (left, 0)).unfold(-1, left, chunking.size)
    return torch.cat([context[..., : parts.shape[-2], :], parts], dim=-1)


def left_contexts(
    chunks: int, chunking: Chunking, device: torch.device | str = "cpu"
) -> Iterator[tuple[int, int, int, Tensor]]:
    """Groups of chunks and the positions that are the left context of some of them.

    Yields:
        The group's first chunk; the positions' begin and end; and a mask (chunks of the group, positions) float32,
        MASKED where a chunk does not attend to a position.
    """
    for first in range(0, chunks, GROUP):
        starts = torch.arange(first, min(first + GROUP, chunks), device=device)[:, None] * chunking.size
        begin, end = max(0, first * chunking.size - chunking.left_context), int(starts[-1])
        seen = torch.arange(begin, end, device=device)
        outside = (seen >= starts) | (seen < starts - chunking.left_context)
        yield first, begin, end, outside.to(torch.float32) * MASKED


def without_look_ahead(states: Tensor, chunking: Chunking) -> Tensor:
    """(batch, chunks, block, state) -> (batch, chunks * size, state): the states that are not encoded again."""
    return states[:, :, : chunking.size].flatten(1, 2)
