"""Keys and values of attention, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Caches:
    """Keys (heads, head_dim, slots) and values (heads, slots, head_dim) of every decoder layer, float32."""

    keys: tuple[np.ndarray, ...]
    values: tuple[np.ndarray, ...]

    def copy(self, count: int) -> Caches:
        """Copies the first `count` slots; the others are zeros, because the program reads them too."""
        other = Caches(tuple(map(np.zeros_like, self.keys)), tuple(map(np.zeros_like, self.values)))
        for old, new in zip(self.keys, other.keys, strict=True):
            new[:, :, :count] = old[:, :, :count]
        for old, new in zip(self.values, other.values, strict=True):
            new[:, :count] = old[:, :count]
        return other

    def store(self, position: int, keys: Sequence[np.ndarray], values: Sequence[np.ndarray]) -> None:
        """Writes new keys (heads, head_dim, n) and values (heads, n, head_dim) of all layers, from slot `position`."""
        for cache, new in zip(self.keys, keys, strict=True):
            cache[:, :, position : position + new.shape[2]] = new
        for cache, new in zip(self.values, values, strict=True):
            cache[:, position : position + new.shape[1]] = new
