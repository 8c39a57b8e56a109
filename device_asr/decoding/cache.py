"""The decoder's cached keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class Caches:
    """Of every decoder layer keys (heads, head_dim, slots) and values (heads, slots, head_dim), float32."""

    keys: tuple[np.ndarray, ...]
    values: tuple[np.ndarray, ...]

    def copy(self, count: int) -> Caches:
        """The first `count` slots for a text that goes on otherwise; nothing in the others, which are read too."""
        other = Caches(tuple(map(np.zeros_like, self.keys)), tuple(map(np.zeros_like, self.values)))
        for old, new in zip(self.keys, other.keys, strict=True):
            new[:, :, :count] = old[:, :, :count]
        for old, new in zip(self.values, other.values, strict=True):
            new[:, :count] = old[:, :count]
        return other

    def store(self, position: int, count: int, outputs: Sequence[np.ndarray]) -> None:
        """Puts what `decode` returned of `count` tokens in their slots: keys of all layers, then values."""
        slots, layers = slice(position, position + count), len(self.keys)
        for i in range(layers):
            self.keys[i][:, :, slots] = outputs[i]
            self.values[i][:, slots] = outputs[layers + i]
