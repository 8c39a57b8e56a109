"""Magnitude pruning: the smallest weights become zeros, and stay so through fine-tuning.

What zeros buy: XNNPACK multiplies dense matrices, so nothing in speed, memory or the size of the .pte.
Measured, a feed-forward part of 384 and 1536 on 100 positions, one x86-64 thread, int8: 0.31, 0.31 and
0.32 ms with 0, 50 and 90 % zeros (fp32: 1.21, 1.18, 1.26 ms), always 1.20 MB. Only a file that is packed
(zip, apt, an app store) gets smaller: that .pte through zlib 1.20, 0.79 and 0.22 MB.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from compress.networks import patterns
from compress.networks.checkpoint import Checkpoint
from device_asr.errors import UsageError

INT8_MAX = 127
PACK_LEVEL = 6  # zlib's own, and that of zip, npz and wheels


@dataclass(frozen=True)
class MagnitudeSettings:
    """Which weights become zeros: either `amount` or `threshold`.

    amount: share in [0, 1) of the chosen weights, the smallest ones; 0 changes nothing.
    threshold: weights of this absolute value or less.
    scope: with `amount`, one ranking over all chosen layers, or the same share in each.
    layers: names of linear layers or of the embedding, or patterns with * and ?. A name stands for
        everything under it: `decoder.layers.3` is that layer. The embedding is not chosen by default:
        it is half of the teacher, and pruning tokens removes its rows whole.
    """

    amount: float | None = None
    threshold: float | None = None
    scope: Literal["global", "layer"] = "global"
    layers: tuple[str, ...] = ("encoder", "decoder.layers")

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", (self.layers,) if isinstance(self.layers, str) else tuple(self.layers))
        if (self.amount is None) == (self.threshold is None):
            raise UsageError(
                f"prune: wanted either amount or threshold, found amount {self.amount} and threshold {self.threshold}."
            )
        if self.amount is not None and not 0 <= self.amount < 1:
            raise UsageError(f"prune.amount: wanted a share in [0, 1), found {self.amount}.")
        if self.threshold is not None and not 0 <= self.threshold < float("inf"):
            raise UsageError(f"prune.threshold: wanted a number of at least 0, found {self.threshold}.")
        if self.scope not in ("global", "layer"):
            raise UsageError(f"prune.scope: wanted global or layer, found {self.scope!r}.")
        if not self.layers:
            raise UsageError("prune.layers: wanted at least one name or pattern, found none.")


@dataclass(frozen=True)
class LayerSparsity:
    """A layer's weights (its bias left out) and how many of them are zero."""

    name: str
    weights: int
    zeros: int

    @property
    def sparsity(self) -> float:
        """Share of zeros."""
        return self.zeros / self.weights


@dataclass(frozen=True)
class MagnitudeReport:
    """What pruning reached.

    layers: each chosen layer. parameters, zeros: of the whole network.
    dense_bytes: of the network with int8 matrices, as it ships; the same before and after.
    packed_before, packed_after: of the same bytes through zlib.
    """

    layers: tuple[LayerSparsity, ...]
    parameters: int
    zeros: int
    dense_bytes: int
    packed_before: int
    packed_after: int

    @property
    def sparsity(self) -> float:
        """Share of zeros in the chosen layers."""
        return sum(layer.zeros for layer in self.layers) / sum(layer.weights for layer in self.layers)


class _Threshold(torch_prune.BasePruningMethod):
    """Masks weights of an absolute value of `threshold` or less: torch has this method by amount alone."""

    PRUNING_TYPE = "unstructured"

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask * (t.abs() > self.threshold)


def magnitude(checkpoint: Checkpoint, settings: MagnitudeSettings) -> tuple[Checkpoint, MagnitudeReport]:
    """The checkpoint with its smallest weights at zero; amount 0 changes nothing.

    Raises:
        UsageError: a pattern that matches nothing; names the nearest layer.
    """
    network = checkpoint.network().requires_grad_(False)
    layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Embedding)}
    modules = {name: layers[name] for name in patterns.choose(layers, settings.layers, "prune.layers", "layer")}
    places = [(module, "weight") for module in modules.values()]
    if settings.threshold is not None:
        for module, name in places:
            _Threshold.apply(module, name, settings.threshold)
    elif settings.scope == "global":
        torch_prune.global_unstructured(places, torch_prune.L1Unstructured, amount=float(settings.amount or 0.0))
    else:
        for module, name in places:
            torch_prune.l1_unstructured(module, name, amount=float(settings.amount or 0.0))
    for module, name in places:
        torch_prune.remove(module, name)
    weights = dict(checkpoint.weights)
    for name, module in modules.items():
        # -0.0, where a negative weight met a mask, becomes 0.0: equal, but packed as other bytes
        weights[f"{name}.weight"] = module.weight.detach() + 0.0
    rows = tuple(
        LayerSparsity(name, module.weight.numel(), int((module.weight == 0).sum())) for name, module in modules.items()
    )
    result = replace(checkpoint, weights=weights)
    before, after = packed_bytes(checkpoint), packed_bytes(result)
    zeros = sum(int((tensor == 0).sum()) for tensor in result.learned.values())
    report = MagnitudeReport(rows, checkpoint.parameters, zeros, before[0], before[1], after[1])
    if settings.amount == 0:
        return checkpoint, report
    how = (
        f"up to {settings.threshold:g}"
        if settings.amount is None
        else f"the smallest {settings.amount:.0%} ({settings.scope})"
    )
    note = f"magnitude pruning, weights {how} in {len(rows)} layers: {report.sparsity:.1%} of them are zero"
    return replace(result, provenance=(*checkpoint.provenance, note)), report


def packed_bytes(checkpoint: Checkpoint) -> tuple[int, int]:
    """Bytes of the network as it ships (matrices int8 with a scale a row, vectors float32), plain and through zlib."""
    plain = packed = 0
    packer = zlib.compressobj(PACK_LEVEL)
    for tensor in checkpoint.learned.values():
        for array in _int8(tensor.detach().numpy()) if tensor.dim() == 2 else (tensor.detach().numpy(),):
            data = np.ascontiguousarray(array).tobytes()
            plain += len(data)
            packed += len(packer.compress(data))
    return plain, packed + len(packer.flush())


def _int8(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, m) float32 as int8 rows, symmetric, and their scales (n,)."""
    scales = np.maximum(np.abs(rows).max(axis=1, initial=0.0), np.finfo(np.float32).tiny) / INT8_MAX
    return np.rint(rows / scales[:, None]).astype(np.int8), scales.astype(np.float32)


# -- fine-tuning ------------------------------------------------------------------------------------------


def masks(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """For each matrix that holds zeros, name -> (rows, columns) bool, True where a weight lives.

    Not of positions, whose sines are zero at 0, nor of a matrix of zeros alone: it is yet to be trained.
    """
    matrices = {name: tensor for name, tensor in checkpoint.weights.items() if name.endswith(".weight")}
    return {
        name: tensor != 0
        for name, tensor in matrices.items()
        if tensor.dim() == 2 and 0 < int((tensor != 0).sum()) < tensor.numel()
    }


@torch.no_grad()
def apply_masks(network: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Sets masked weights to zero, in place; to be called after every step of the optimizer.

    Gradients are left alone: AdamW's momentum would move a masked weight all the same.

    Raises:
        UsageError: a mask fits no parameter.
    """
    parameters = dict(network.named_parameters())
    for name, mask in masks.items():
        if name not in parameters or parameters[name].shape != mask.shape:
            found = tuple(parameters[name].shape) if name in parameters else "no parameter"
            raise UsageError(
                f"Mask of {name}: wanted a parameter of shape {tuple(mask.shape)}, found {found}; "
                "make the masks from the checkpoint that is trained."
            )
        parameters[name].mul_(mask.to(parameters[name].device))
