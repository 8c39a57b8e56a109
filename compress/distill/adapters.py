"""Adapters made without training: merged from other adapters, or read off the changes that a training made.

The adapters of the shipped model are the changes of a training of all weights and half of adapters that were trained
alone, as one change of rank 6, which keeps 73 % of the sum's energy (steps 6 to 8 of its provenance).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Tensor

from compress.lowrank.decomposition import decompose_weight
from compress.networks.checkpoint import Checkpoint
from compress.networks.factored import weight_and_bias
from compress.settings import check_count
from device_asr.errors import UsageError

Change = tuple[Tensor, Tensor | None]  # of a linear layer's weight (rows, columns) and of its bias (rows,)


@dataclass(frozen=True)
class AdapterSettings:
    """Adapters of the encoder where it encodes in chunks: low-rank changes of its linear layers.

    rank: of each change. changed: a checkpoint, see `load_checkpoint`, whose encoder is this one's after a training;
    the adapters are its changes. None: they change nothing until they are trained. share: of those changes.
    """

    rank: int
    changed: str | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        check_count("adapters.rank", self.rank)
        if self.share <= 0 or (self.changed is None and self.share != 1):
            raise UsageError(
                f"adapters.share: wanted a number above 0 and, with one, a changed checkpoint, found {self.share:g} "
                f"and {self.changed or 'no checkpoint'}."
            )


@dataclass(frozen=True)
class MergeSettings:
    """Adapters of this checkpoint and of others, as one change of each layer.

    rank: of each merged change. checkpoints: folders or files with adapters, see `load_checkpoint`. shares: factors of
    each checkpoint's changes, this one's first; none: 1 each.
    """

    rank: int
    checkpoints: tuple[str, ...]
    shares: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_count("merge_adapters.rank", self.rank)
        names = (self.checkpoints,) if isinstance(self.checkpoints, str) else tuple(self.checkpoints)
        shares = tuple(self.shares) or (1.0,) * (len(names) + 1)
        if not names or len(shares) != len(names) + 1:
            raise UsageError(
                "merge_adapters: wanted at least one other checkpoint, and a share of this one's adapters and of each "
                f"other's, found {len(names)} checkpoints and {len(shares)} shares."
            )
        object.__setattr__(self, "checkpoints", names)
        object.__setattr__(self, "shares", shares)


@dataclass(frozen=True)
class LayerEnergy:
    """An adapter, and the share of the energy of its change that the rank keeps."""

    name: str
    energy: float


@dataclass(frozen=True)
class AdapterReport:
    """What a rank keeps of changes; energy: share of the sum of squared singular values, over all layers."""

    rank: int
    energy: float
    layers: tuple[LayerEnergy, ...]


def _targets(checkpoint: Checkpoint) -> Mapping[str, str]:
    """See `Family.adapter_targets`."""
    return checkpoint.family_of().adapter_targets(checkpoint.dims)


def check_rank(checkpoint: Checkpoint, rank: int, setting: str) -> None:
    """Raises UsageError where a rank is above the narrowest of the layers that adapters change."""
    layers = _targets(checkpoint).values()
    narrowest = min(min(weight_and_bias(checkpoint.weights, name)[0].shape) for name in layers)
    if rank > narrowest:
        raise UsageError(f"{setting}: wanted at most {narrowest}, the encoder's narrowest layer, found {rank}.")


def merge_adapters(
    checkpoints: Sequence[Checkpoint], shares: Sequence[float], rank: int
) -> tuple[Checkpoint, AdapterReport]:
    """The first checkpoint with the weighted sum of all checkpoints' adapters, cut to `rank` by singular values.

    Raises:
        UsageError: a checkpoint has no adapters, or those of an encoder of other sizes; or the rank is too high.
    """
    first = checkpoints[0]
    check_rank(first, rank, "merge_adapters.rank")
    for number, one in enumerate(checkpoints, 1):
        if not one.dims.adapters:
            raise UsageError(
                f"merge_adapters: wanted checkpoints with adapters, which the stage adapters gives, "
                f"found none in number {number}."
            )
        _check_sizes(first, one, number)
    changes = {
        name: _weighted([weight_and_bias(one.weights, name) for one in checkpoints], shares) for name in _targets(first)
    }
    made, report = _with_adapters(first, changes, rank)
    factors = ", ".join(f"{share:g}" for share in shares)
    return _noted(made, f"adapters of {len(checkpoints)} checkpoints, times {factors}, as one change", report), report


def adapters_of_change(
    checkpoint: Checkpoint, changed: Checkpoint, share: float, rank: int
) -> tuple[Checkpoint, AdapterReport]:
    """The checkpoint with adapters that make its encoder's linear layers those of `changed`, as far as `rank` goes.

    Args:
        share: factor of the changes.

    Raises:
        UsageError: the encoder of `changed` has other sizes, or the rank is too high.
    """
    check_rank(checkpoint, rank, "adapters.rank")
    _check_sizes(checkpoint, changed, 2)
    changes = {
        name: _weighted([weight_and_bias(one.weights, layer) for one in (changed, checkpoint)], [share, -share])
        for name, layer in _targets(checkpoint).items()
    }
    made, report = _with_adapters(checkpoint, changes, rank)
    return _noted(made, f"adapters: {share:.0%} of a training's changes of the encoder", report), report


def _check_sizes(first: Checkpoint, other: Checkpoint, number: int) -> None:
    """Raises UsageError where the layers that adapters change have other shapes in checkpoint `number`."""
    wanted, found = (
        {name: tuple(weight_and_bias(one.weights, name)[0].shape) for name in _targets(one).values()}
        for one in (first, other)
    )
    for name in (*wanted, *found):
        if wanted.get(name) != found.get(name):
            raise UsageError(
                f"Adapters: wanted encoders of the same sizes, found {name} of {wanted.get(name)} in the first "
                f"checkpoint and of {found.get(name)} in number {number}."
            )


def _weighted(parts: Sequence[Change], shares: Sequence[float]) -> Change:
    """The weighted sum of changes, float64."""
    weights = [share * weight.double() for (weight, _), share in zip(parts, shares, strict=True)]
    biases = [share * bias.double() for (_, bias), share in zip(parts, shares, strict=True) if bias is not None]
    return reduce(torch.add, weights), reduce(torch.add, biases) if biases else None


def _with_adapters(
    checkpoint: Checkpoint, changes: Mapping[str, Change], rank: int
) -> tuple[Checkpoint, AdapterReport]:
    """The checkpoint with these changes as its only adapters, the weights of each cut to `rank`."""
    added: dict[str, Tensor] = {}
    layers, kept, everything = [], 0.0, 0.0
    for name, (weight, bias) in changes.items():
        found = decompose_weight(weight, None, 0.0)
        down, up = found.factors(rank)
        added[f"{name}.down.weight"], added[f"{name}.up.weight"] = down, up
        if bias is not None:
            added[f"{name}.up.bias"] = bias.float()
        squares = found.values.double().square()
        kept, everything = kept + float(squares[:rank].sum()), everything + float(squares.sum())
        layers.append(LayerEnergy(name, found.energy_of(rank)))
    former = tuple(f"{name}." for name in changes)
    weights = {name: tensor for name, tensor in checkpoint.weights.items() if not name.startswith(former)}
    made = replace(checkpoint, dims=replace(checkpoint.dims, adapters=rank), weights={**weights, **added})
    return made, AdapterReport(rank, kept / everything if everything else 1.0, tuple(layers))


def _noted(checkpoint: Checkpoint, what: str, report: AdapterReport) -> Checkpoint:
    note = f"{what}, rank {report.rank} ({report.energy:.0%} of the energy)"
    return replace(checkpoint, provenance=(*checkpoint.provenance, note))
