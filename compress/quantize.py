"""Quantisation of linear layers: int8 or int4 weights, activations quantised as they come."""

from __future__ import annotations

import torch
from torch import nn

from device_asr.errors import UsageError

FLOAT = 32


def quantise_linears(module: nn.Module, bits: int = 8, group: int | None = None,
                     only: tuple[str, ...] | None = None) -> nn.Module:
    """Replaces the weights of every linear layer that is still float, in place.

    Weights are symmetric: one scale per output channel, or per `group` input columns. Activations are
    int8, asymmetric, per token, quantised on the fly. One scale a tensor instead ruins speech models
    (published: 4.5 -> 7.6 % WER); per channel costs 0.1-0.3 %.

    Args:
        bits: 8 or 4; 32 leaves the module as it is.
        group: columns that share a scale; None: a whole row.
        only: names of the layers to quantise; None: all.

    Raises:
        UsageError: another bit width.
    """
    if bits == FLOAT:
        return module
    if bits not in (4, 8):
        raise UsageError(f"Weight bits: wanted 4, 8 or {FLOAT}, found {bits}.")
    from torchao.quantization import (
        Int8DynamicActivationIntxWeightConfig,
        MappingType,
        PerAxis,
        PerGroup,
        quantize_,
    )

    config = Int8DynamicActivationIntxWeightConfig(
        weight_dtype=torch.int8 if bits == 8 else torch.int4,
        weight_granularity=PerAxis(0) if group is None else PerGroup(group),
        weight_mapping_type=MappingType.SYMMETRIC)

    def chosen(child: nn.Module, name: str) -> bool:
        return isinstance(child, nn.Linear) and not is_quantised(child) and (only is None or name in only)

    quantize_(module, config, chosen)
    return module


def is_quantised(linear: nn.Linear) -> bool:
    """Whether `quantise_linears` has been here."""
    return hasattr(linear.weight, "qdata")
