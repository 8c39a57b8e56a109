"""An axis of a tensor, and the part of it that is kept; cutting networks whose layers are named alike.

The names are those of `encoder.layers.0.attention.query.weight`, which every family has: an axis of attention heads or
feed-forward channels is named as its module is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from compress.networks.dims import Dims, LayerDims

ENCODER_STATE, DECODER_STATE = "encoder.state", "decoder.state"  # the two residual streams
ADAPTERS = "adapters."  # before the number of an encoder layer
D = TypeVar("D", bound=Dims)


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


def adapter_axes(table: Mapping[str, tuple[Axis | None, ...]]) -> dict[str, tuple[Axis | None, ...]]:
    """Of each linear layer of the encoder's layers its change's: columns are those of `down`, rows those of `up`."""
    changes: dict[str, tuple[Axis | None, ...]] = {}
    for name, parts in table.items():
        if not name.startswith("encoder.layers."):
            continue
        name = f"{ADAPTERS}{name.removeprefix('encoder.layers.')}"
        if name.endswith(".bias") and "norm" not in name:
            changes[f"{name.removesuffix('bias')}up.bias"] = parts
        elif len(parts) == 2:
            linear = name.removesuffix("weight")
            changes[f"{linear}down.weight"], changes[f"{linear}up.weight"] = (None, parts[1]), (parts[0], None)
    return changes


def take(
    tensors: Mapping[str, Tensor], table: Mapping[str, tuple[Axis | None, ...]], kept: Mapping[str, Sequence[int]]
) -> dict[str, Tensor]:
    """Copies of a network's tensors, all or some of them, with only the kept units of the named axes.

    Args:
        table: the axes of every tensor of the network.
    """
    cut = dict(tensors)
    for name, parts in table.items():
        for at, axis in enumerate(parts):
            if axis is not None and axis.name in kept and name in cut:
                cut[name] = cut[name].index_select(at, axis.elements(kept[axis.name])).contiguous()
    return cut


def taken(dims: D, kept: Mapping[str, Sequence[int]]) -> D:
    """The dims of a network whose tensors went through `take`."""

    def layer(at: str, old: LayerDims) -> LayerDims:
        counts = {"heads": old.heads, "cross_heads": old.cross_heads, "ffn": old.ffn}
        for field, part in (("heads", "attention"), ("cross_heads", "cross"), ("ffn", "ffn")):
            if f"{at}.{part}" in kept:
                counts[field] = len(kept[f"{at}.{part}"])
        return LayerDims(**counts)

    encoder = tuple(layer(f"encoder.layers.{i}", old) for i, old in enumerate(dims.encoder))
    decoder = tuple(layer(f"decoder.layers.{i}", old) for i, old in enumerate(dims.decoder))
    state = len(kept[ENCODER_STATE]) if ENCODER_STATE in kept else dims.state
    return replace(dims, state=state, encoder=encoder, decoder=decoder)


def take_layers(tensors: Mapping[str, Tensor], side: str, kept: Sequence[int]) -> dict[str, Tensor]:
    """Tensors of the kept layers of "encoder" or "decoder", numbered anew, and all that is in no layer of it."""
    cut = {}
    places = {"encoder": ("encoder.layers.", ADAPTERS), "decoder": ("decoder.layers.",)}[side]
    for name, tensor in tensors.items():
        place = next((place for place in places if name.startswith(place)), None)
        if place is None:
            cut[name] = tensor
            continue
        number, _, rest = name.removeprefix(place).partition(".")
        if int(number) in kept:
            cut[f"{place}{list(kept).index(int(number))}.{rest}"] = tensor
    return cut
