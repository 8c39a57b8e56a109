"""Rotary position embeddings (Su et al. 2021) of a part of each head, in the form that turns two halves.

Moonshine's checkpoints turn neighboring pairs of dimensions; `halves_first` orders a head's rows so that the
same turn is of two halves, which slices and concatenates instead of interleaving.
"""

from __future__ import annotations

import torch
from torch import Tensor

THETA = 10_000.0  # the slowest pair turns by 1/THETA radians a position


def frequencies(rotary: int) -> Tensor:
    """(rotary / 2,) float32, radians a position."""
    return THETA ** (-torch.arange(0, rotary, 2, dtype=torch.float32) / rotary)


def turns(positions: Tensor, rotary: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines (n, rotary / 2) float32 of positions (n,)."""
    angles = positions.to(torch.float32).unsqueeze(1) * frequencies(rotary).to(positions.device)
    return torch.cos(angles), torch.sin(angles)


def turned(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Queries or keys (batch, n, head_dim), each turned by its position's angles (n, rotary / 2)."""
    half = cosines.shape[1]
    a, b = x[..., :half], x[..., half : 2 * half]
    return torch.cat([a * cosines - b * sines, b * cosines + a * sines, x[..., 2 * half :]], dim=-1)


def halves_first(heads: int, head_dim: int, rotary: int) -> Tensor:
    """The rows of a query or key layer of a checkpoint with turned pairs, in the order that turns halves."""
    order = [*range(0, rotary, 2), *range(1, rotary, 2), *range(rotary, head_dim)]
    return (torch.arange(heads)[:, None] * head_dim + torch.tensor(order)).flatten()
