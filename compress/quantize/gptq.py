"""Rounding to 4 bits that makes up for its own error: GPTQ (Frantar et al. 2022, arXiv:2210.17323).

A layer's columns are rounded one after the other; what a column loses is taken up by those behind it, as far as
the layer's inputs on calibration clips go together. Each group's scale is searched for before its first column.
The weights come out as floats that the exporter rounds to just these codes, see `grid.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from compress.lowrank.decomposition import Batch, input_moments, ridged
from compress.networks.adapters import LayerAdapters
from compress.networks.checkpoint import Checkpoint
from compress.networks.layers import CtcHead
from compress.quantize.grid import HIGHEST, LARGEST, LOWEST, bears_lowest, on_grid
from compress.quantize.plan import QuantizationPlan
from compress.settings import check_count
from device_asr.errors import UsageError

SHRINK = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)  # of a group's largest weight: what its scale may be made of
SMALLEST = 1e-9  # scale


@dataclass(frozen=True)
class GptqSettings:
    """Which layers are rounded, and to what.

    plan: the quantization; its layers of 4 bits are rounded, except the token embedding and the layers that only
    encode in chunks (adapters, CTC head): the exporter rounds those to nearest. clips: of the recipe's,
    that calibrate. ridge: added to the diagonal of the inputs' covariance, relative to its mean.
    """

    plan: QuantizationPlan
    clips: int = 256
    ridge: float = 1e-2

    def __post_init__(self) -> None:
        if not isinstance(self.plan, QuantizationPlan):
            object.__setattr__(self, "plan", QuantizationPlan.from_table(self.plan))
        check_count("gptq.clips", self.clips)
        if self.ridge <= 0:
            raise UsageError(f"gptq.ridge: wanted a number above 0, found {self.ridge}.")


@dataclass(frozen=True)
class LayerError:
    """One layer's error on the calibration clips, the share of its output's energy that rounding takes or adds.

    nearest: where each weight goes to the nearest code. error: as rounded here.
    """

    name: str
    nearest: float
    error: float


@dataclass(frozen=True)
class GptqReport:
    """What rounding did to each layer."""

    layers: tuple[LayerError, ...]


def apply_gptq(
    checkpoint: Checkpoint, settings: GptqSettings, calibration: Iterable[Batch], zeros_stay: bool = False
) -> tuple[Checkpoint, GptqReport]:
    """The checkpoint with its 4-bit layers on their grid; a plan without any changes nothing.

    Args:
        calibration: batches that the layers' inputs are measured on.
        zeros_stay: weights that are zero remain so.

    Raises:
        UsageError: the plan does not fit the network, or no calibration batch.
    """
    network = checkpoint.network()
    streaming = tuple(
        f"{name}." for name, module in network.named_modules() if isinstance(module, CtcHead | LayerAdapters)
    )
    widths = {
        name: width
        for name, width in settings.plan.widths(network).items()
        if width.bits == 4 and not name.startswith(streaming)
    }
    if not widths:
        return checkpoint, GptqReport(())
    moments = input_moments(network, widths, calibration, checkpoint.vocabulary.end)
    weights, layers = dict(checkpoint.weights), []
    for name, width in widths.items():
        weight = weights[f"{name}.weight"].double()
        covariance = moments[name].covariance
        group = width.group or weight.shape[1]
        codes, scales = compensated(weight, covariance, group, settings.ridge, zeros_stay)
        rounded = (codes * scales.double().unsqueeze(2)).flatten(1)
        energy = _energy(weight, covariance) or 1.0
        layers.append(
            LayerError(
                name,
                _energy(weight - nearest(weight, group), covariance) / energy,
                _energy(weight - rounded, covariance) / energy,
            )
        )
        weights[f"{name}.weight"] = on_grid(codes, scales)
        if (bias := weights.get(f"{name}.bias")) is not None:  # takes up what the mean input loses
            weights[f"{name}.bias"] = (bias + (weight - rounded) @ moments[name].mean).float()
    note = f"{len(widths)} layers rounded to 4 bits, errors compensated (GPTQ)"
    return (replace(checkpoint, weights=weights, provenance=(*checkpoint.provenance, note)), GptqReport(tuple(layers)))


def compensated(
    weight: Tensor, covariance: Tensor, group: int, ridge: float, zeros_stay: bool = False
) -> tuple[Tensor, Tensor]:
    """Codes and scales of one layer.

    Args:
        weight: (rows, columns) float64. covariance: (columns, columns) float64, of the layer's inputs.

    Returns:
        codes (rows, groups, group) int16, scales (rows, groups) bfloat16, as `on_grid` wants them.
    """
    weight = weight.clone()
    rows, columns = weight.shape
    zero = (weight == 0) & zeros_stay
    spread = torch.linalg.cholesky(torch.linalg.inv(ridged(covariance, ridge)), upper=True)
    codes = torch.zeros(rows, columns // group, group, dtype=torch.int16)
    scales = torch.zeros(rows, columns // group, dtype=torch.bfloat16)
    for number, first in enumerate(range(0, columns, group)):
        here, behind = slice(first, first + group), slice(first + group, columns)
        whole = weight[:, here].masked_fill(zero[:, here], 0.0)
        scale = _scale(whole, spread.diagonal()[here].square().reciprocal())
        scales[:, number], step, largest = scale, scale.double(), whole.abs().argmax(1)
        lowest = torch.where(bears_lowest(scale), LOWEST, -HIGHEST).double()
        lost = torch.zeros(rows, group, dtype=weight.dtype)
        for k in range(group):
            column = first + k
            code = (weight[:, column] / step).round().clamp(lowest, torch.tensor(HIGHEST))
            # a scale is known by its largest code only: that one stays at an end of the grid
            code = torch.where(largest == k, torch.where(weight[:, column] < 0, lowest, HIGHEST), code)
            code[zero[:, column]] = 0.0
            codes[:, number, k] = code.to(torch.int16)
            lost[:, k] = (weight[:, column] - code * step) / spread[column, column]
            rest = slice(column + 1, first + group)
            weight[:, rest] -= torch.outer(lost[:, k], spread[column, rest])
        weight[:, behind] -= lost @ spread[here, behind]
    return codes, scales


def nearest(weight: Tensor, group: int) -> Tensor:
    """(rows, columns) float64, each weight at the nearest code of its group's usual scale."""
    groups = weight.unflatten(1, (-1, group))
    step = _bfloat16(groups.abs().amax(2, keepdim=True) / LARGEST).double()
    return ((groups / step).round().clamp(LOWEST, HIGHEST) * step).flatten(1)


def _scale(weight: Tensor, importance: Tensor) -> Tensor:
    """(rows,) bfloat16 for a group (rows, group): of `SHRINK` what loses least, columns weighed by (group,)."""
    largest, lowest = weight.abs().amax(1), weight.amin(1)
    tried = torch.stack([_bfloat16(share * largest / LARGEST) for share in SHRINK])
    while (bad := (lowest == -largest) & ~bears_lowest(tried)).any():
        tried = torch.where(bad, (tried.view(torch.int16) + 1).view(torch.bfloat16), tried)  # the next larger one
    step = tried.double().unsqueeze(2)
    errors = ((weight / step).round().clamp(LOWEST, HIGHEST) * step - weight).square() @ importance
    return tried.gather(0, errors.argmin(0, keepdim=True)).squeeze(0)


def _bfloat16(scale: Tensor) -> Tensor:
    return scale.clamp(min=SMALLEST).to(torch.bfloat16)


def _energy(weight: Tensor, covariance: Tensor) -> float:
    """Of a layer's output: (rows, columns) times inputs of that covariance."""
    return float(((weight @ covariance) * weight).sum())
