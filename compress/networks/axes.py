"""An axis of a tensor, and the part of it that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Axis:
    """An axis of a tensor as `blocks` times `units` times `size` elements; a unit is what is kept or removed.

    Heads are units of head_dim elements; the channels of three frames side by side are three blocks.
    """

    name: str
    units: int
    size: int = 1
    blocks: int = 1

    def elements(self, kept: Sequence[int]) -> Tensor:
        """Indices of the elements of the kept units."""
        every = torch.arange(self.blocks * self.units * self.size).view(self.blocks, self.units, self.size)
        return every[:, list(kept)].reshape(-1)
