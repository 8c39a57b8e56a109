"""Masks that are added to attention scores, and which positions are padding."""

from __future__ import annotations

import torch
from torch import Tensor

MASKED = -1e4  # added to a score that must not be attended to; exp underflows to 0 in float32


def causal(queries: int, keys: int, device: torch.device | str = "cpu") -> Tensor:
    """(queries, keys) float32: MASKED where a key comes after its query; the last query sees every key."""
    return torch.full((queries, keys), MASKED, device=device).triu(keys - queries + 1)


def position_count(samples: Tensor, samples_per_position: int) -> Tensor:
    """Positions of recordings of so many samples, int64; a last one that is not whole counts."""
    return torch.div(samples + samples_per_position - 1, samples_per_position, rounding_mode="floor")


def padding(positions: Tensor, lengths: Tensor, samples_per_position: int) -> Tensor:
    """(batch, *positions.shape) float32: MASKED where a position begins after its clip has ended.

    Args:
        positions: int64, any shape. lengths: (batch,) samples.
    """
    behind = positions[None] * samples_per_position >= lengths.view(-1, *[1] * positions.dim())
    return behind.to(torch.float32) * MASKED
