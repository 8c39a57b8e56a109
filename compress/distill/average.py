"""The mean of networks' weights: it is often better than each of them, at the cost of one.

Each of two trainings was better on one corpus; their mean was close to the better one on both (the base of en-tiny,
steps 2 to 4 of its provenance).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import torch

from compress.distill.settings import DistillSettings
from compress.networks.checkpoint import Checkpoint
from compress.settings import parse
from device_asr.errors import UsageError


@dataclass(frozen=True)
class AverageSettings:
    """Which networks are averaged: either this one with the `checkpoints`, or the results of the `trainings`.

    checkpoints: folders or files, see `load_checkpoint`. trainings: each a table of settings of `distill`; every one
    begins with this checkpoint. shares: of each network in the mean, this checkpoint's first where it is one of them;
    none: equal shares.
    """

    checkpoints: tuple[str, ...] = ()
    trainings: tuple[DistillSettings, ...] = ()
    shares: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        names = (self.checkpoints,) if isinstance(self.checkpoints, str) else tuple(self.checkpoints)
        trainings = tuple(
            parse(DistillSettings, one, f"average.trainings, {k}", "distill") if isinstance(one, Mapping) else one
            for k, one in enumerate(self.trainings, 1)
        )
        count = len(trainings) or len(names) + 1
        if bool(names) == bool(trainings) or count < 2:
            raise UsageError(
                "average: wanted either checkpoints or at least two trainings, "
                f"found {len(names)} checkpoints and {len(trainings)} trainings."
            )
        shares = tuple(self.shares) or (1 / count,) * count
        if len(shares) != count or min(shares) <= 0 or not math.isclose(sum(shares), 1, abs_tol=1e-6):
            raise UsageError(f"average.shares: wanted {count} shares above 0 whose sum is 1, found {list(shares)}.")
        object.__setattr__(self, "checkpoints", names)
        object.__setattr__(self, "trainings", trainings)
        object.__setattr__(self, "shares", shares)


def average(checkpoints: Sequence[Checkpoint], shares: Sequence[float]) -> Checkpoint:
    """The first checkpoint with the weighted mean of all checkpoints' weights.

    Args:
        shares: of each checkpoint; their sum is 1.

    Raises:
        UsageError: a checkpoint has other dims or another vocabulary than the first.
    """
    first = checkpoints[0]
    for number, one in enumerate(checkpoints[1:], 2):
        if one.dims != first.dims or one.vocabulary != first.vocabulary:
            what = "dims" if one.dims != first.dims else "vocabulary"
            raise UsageError(
                f"average: wanted networks of the same dims and vocabulary, found another {what} in number {number}."
            )
    weights = {}
    for name in first.weights:  # in float64: the mean of equal weights is then these weights
        parts = [share * one.weights[name].double() for share, one in zip(shares, checkpoints, strict=True)]
        weights[name] = reduce(torch.add, parts).float()
    return replace(first, weights=weights)
