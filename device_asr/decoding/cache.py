"""Keys and values of attention, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from device_asr.bundle.roles import nth, numbered


@dataclass(frozen=True, slots=True)
class Caches:
    """Keys (heads, head_dim, slots) and values (heads, slots, head_dim) of every decoder layer, float32."""

    keys: tuple[np.ndarray, ...]
    values: tuple[np.ndarray, ...]

    def copy(self, count: int) -> Caches:
        """Copies the first `count` slots; the others are zeros, because the program reads them too."""
        other = Caches(tuple(map(np.zeros_like, self.keys)), tuple(map(np.zeros_like, self.values)))
        other.store(0, self.part(0, count))
        return other

    def store(self, position: int, new: Caches) -> None:
        """Writes keys (heads, head_dim, n) and values (heads, n, head_dim) of all layers from slot `position` on."""
        for cache, keys in zip(self.keys, new.keys, strict=True):
            cache[:, :, position : position + keys.shape[2]] = keys
        for cache, values in zip(self.values, new.values, strict=True):
            cache[:, position : position + values.shape[1]] = values

    def part(self, first: int, last: int) -> Caches:
        """Views of the slots from `first` up to `last`."""
        return Caches(
            tuple(keys[:, :, first:last] for keys in self.keys), tuple(values[:, first:last] for values in self.values)
        )

    def contiguous(self) -> Caches:
        """Arrays that a session takes; those of a part are copied."""
        return Caches(tuple(map(np.ascontiguousarray, self.keys)), tuple(map(np.ascontiguousarray, self.values)))

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], keys: str, values: str) -> Caches:
        """The arrays whose roles are `keys[i]` and `values[i]`."""
        return cls(
            tuple(arrays[role] for role in numbered(keys, arrays)),
            tuple(arrays[role] for role in numbered(values, arrays)),
        )

    def by_role(self, keys: str, values: str) -> dict[str, np.ndarray]:
        """The arrays with the roles `keys[i]` and `values[i]`."""
        return {nth(keys, i): array for i, array in enumerate(self.keys)} | {
            nth(values, i): array for i, array in enumerate(self.values)
        }
