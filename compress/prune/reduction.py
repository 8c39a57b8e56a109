"""The cuts of structured pruning: what stays by importance, and the checkpoint made of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from compress.networks.checkpoint import Checkpoint
from compress.networks.family import Part, Side
from compress.prune.importance import layer_scores, unit_scores
from device_asr.errors import UsageError

MULTIPLE = 8  # channels: lanes of XNNPACK's int8 kernels


@dataclass(frozen=True)
class Removed:
    """A part ("decoder.layers.0.cross", "encoder.layers", "state") and its units before and after."""

    part: str
    before: int
    after: int


class Reduction:
    """A checkpoint and the importance of its weights, both cut step by step.

    elements: importance of each weight, see `importance.elements`.
    removed: what went so far. Layers are named by their number at that step.
    """

    def __init__(self, checkpoint: Checkpoint, elements: Mapping[str, Tensor]) -> None:
        self.checkpoint, self.elements = checkpoint, elements
        self.family = checkpoint.family_of()
        self.removed: list[Removed] = []

    def heads(self, side: Side, part: Part, amount: float | None, count: int | None, scope: str) -> None:
        """Keeps the best heads of "attention" or "cross" of a side; of the alignment heads always the best one."""
        scores = self._scores(side, part)
        if part == "cross" and self.checkpoint.alignment_heads:
            _, layer, head = max(
                (float(scores[self._axis("decoder", layer, "cross")][head]), layer, head)
                for layer, head in self.checkpoint.alignment_heads
            )
            scores[self._axis("decoder", layer, "cross")][head] = torch.inf  # word times are read off it
        self._cut(scores, choose(scores, amount, count, scope, 1))

    def ffn(self, side: Side, amount: float | None, count: int | None, scope: str) -> None:
        """Keeps the best feed-forward channels of a side, in each layer a multiple of 8."""
        scores = self._scores(side, "ffn")
        self._cut(scores, choose(scores, amount, count, scope, MULTIPLE))

    def layers(self, side: Side, amount: float | None, count: int | None, spaced: bool) -> None:
        """Keeps the best, or evenly spaced, layers of a side.

        Where no alignment head is left, all cross-attention heads of the last half of the layers take
        their place: openai/whisper's choice for a model whose alignment heads are not known.
        """
        before = self.checkpoint.dims
        name, own = f"{side}.layers", getattr(before, side)
        kept = choose({name: layer_scores(self.checkpoint, self.elements, side)}, amount, count, "layer", 1)[name]
        if len(kept) == len(own):
            return
        if spaced:
            kept = evenly(len(own), len(kept))
        layers = tuple(own[i] for i in kept)
        dims = replace(before, encoder=layers) if side == "encoder" else replace(before, decoder=layers)
        pairs = self.checkpoint.alignment_heads
        if side == "decoder" and pairs:
            last = range(len(kept) // 2, len(kept))
            every = tuple((i, head) for i in last for head in range(dims.decoder[i].cross_heads))
            pairs = tuple((kept.index(i), head) for i, head in pairs if i in kept) or every
        self.elements = self.family.take_layers(self.elements, side, kept)
        weights = self.family.take_layers(self.checkpoint.weights, side, kept)
        self.checkpoint = replace(self.checkpoint, dims=dims, alignment_heads=pairs, weights=weights)
        self.removed.append(Removed(name, len(own), len(kept)))

    def state(self, count: int) -> None:
        """Keeps the best channels of both residual streams and between the convolutions, `count` of each."""
        before = self.checkpoint.dims.state
        kept: dict[str, list[int]] = {}
        for name in self.family.streams:
            # tiny.en to 336 channels by Taylor, loss on 8 clips: 1.8 with shares, 7.0 without
            scores = unit_scores(self.checkpoint, self.elements, name, shares=True)
            kept |= choose({name: scores}, None, count, "layer", MULTIPLE)
        if count < before:
            self._take(kept, self.checkpoint.alignment_heads)
            self.removed.append(Removed("state", before, count))

    def _axis(self, side: Side, layer: int, part: Part) -> str:
        return self.family.axis(side, layer, part)

    def _scores(self, side: Side, part: Part) -> dict[str, Tensor]:
        names = [self._axis(side, i, part) for i in range(len(getattr(self.checkpoint.dims, side)))]
        return {name: unit_scores(self.checkpoint, self.elements, name) for name in names}

    def _cut(self, scores: Mapping[str, Tensor], kept: Mapping[str, list[int]]) -> None:
        smaller = {name: units for name, units in kept.items() if len(units) < len(scores[name])}
        pairs = []
        for layer, head in self.checkpoint.alignment_heads:
            units = smaller.get(self._axis("decoder", layer, "cross"), range(head + 1))
            if head in units:
                pairs.append((layer, units.index(head)))
        self._take(smaller, tuple(pairs))
        self.removed += [Removed(name, len(scores[name]), len(units)) for name, units in smaller.items()]

    def _take(self, kept: Mapping[str, Sequence[int]], pairs: tuple[tuple[int, int], ...]) -> None:
        dims = self.checkpoint.dims
        self.elements = self.family.take(self.elements, dims, kept)
        self.checkpoint = replace(
            self.checkpoint,
            dims=self.family.taken(dims, kept),
            alignment_heads=pairs,
            weights=self.family.take(self.checkpoint.weights, dims, kept),
        )


def choose(
    scores: Mapping[str, Tensor], amount: float | None, count: int | None, scope: str, multiple: int
) -> dict[str, list[int]]:
    """The units that stay of each part, in their order: the best by (units,) scores.

    Args:
        amount: share to remove of the units, rounded down, or count: how many stay in each part.
        scope: "layer": of each part; "global": of all parts in one ranking.
        multiple: what stays is rounded up to it, and is at least it.

    Raises:
        UsageError: more units wanted than a part has.
    """
    for name, own in scores.items():
        if count is not None and count > len(own):
            raise UsageError(f"{name}: wanted at most the {len(own)} that it has, found {count}.")
    if scope == "global":
        total = sum(_stays(len(own), amount, count) for own in scores.values())
        owners = torch.cat([torch.full((len(own),), i) for i, own in enumerate(scores.values())])
        best = torch.cat(list(scores.values())).topk(total).indices
        counts = torch.bincount(owners[best], minlength=len(scores)).tolist()
    else:
        counts = [_stays(len(own), amount, count) for own in scores.values()]
    kept = {}
    for (name, own), wanted in zip(scores.items(), counts, strict=True):
        rounded = min(len(own), multiple * max(1, math.ceil(wanted / multiple)))
        kept[name] = sorted(own.topk(rounded).indices.tolist())
    return kept


def _stays(units: int, amount: float | None, count: int | None) -> int:
    # 1e-9: 0.3 of 10 is 3, whatever its binary fraction
    return count if count is not None else units - math.floor((amount or 0.0) * units + 1e-9)


def evenly(total: int, count: int) -> list[int]:
    """`count` of `total` layers: the first, the last and evenly spaced ones between; of one, the last."""
    if count == 1:
        return [total - 1]
    return [round(i * (total - 1) / (count - 1)) for i in range(count)]
