"""Quantizing the linear layers of a network in place, with the number formats that XNNPACK stores."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from compress.quantize.plan import FLOAT, QuantizationPlan, Width

M = TypeVar("M", bound=nn.Module)


def quantize(network: M, plan: QuantizationPlan) -> M:
    """Quantizes the linear layers with dynamic activations in place.

    The exporter quantizes layers with static activations (`export.static.fix_ranges`) and the embedding.

    Raises:
        UsageError: see `QuantizationPlan.widths`.
    """
    by_width: dict[Width, list[str]] = {}
    static = set(plan.static_layers(network))
    for name, width in plan.widths(network).items():
        if name not in static:
            by_width.setdefault(width, []).append(name)
    for width, names in by_width.items():
        quantize_linears(network, width.bits, width.group, tuple(names))
    return network


def quantize_linears(module: M, bits: int = 8, group: int | None = None, only: tuple[str, ...] | None = None) -> M:
    """Replaces the weights of every linear layer that is still float, in place.

    One scale per output channel, or per `group` input columns. Activations are int8, asymmetric, per
    token, quantized on the fly. One scale a tensor instead ruins speech models (published: 4.5 -> 7.6 %
    WER); per channel costs 0.1-0.3 %.

    Args:
        bits, group: see `Width`; 32 leaves the module as it is.
        only: names of the layers to quantize; None: all.

    Raises:
        UsageError: another bit width or group.
    """
    width = Width(bits, group)
    if width.bits == FLOAT:
        return module
    from torchao.quantization import (
        Int8DynamicActivationIntxWeightConfig,
        MappingType,
        PerAxis,
        PerGroup,
        quantize_,
    )

    config = Int8DynamicActivationIntxWeightConfig(
        weight_dtype=torch.int8 if bits == 8 else torch.int4,  # type: ignore[attr-defined]  # not in torch's stubs
        weight_granularity=PerAxis(0) if group is None else PerGroup(group),
        weight_scale_dtype=torch.bfloat16 if bits == 4 else None,  # as XNNPACK keeps them
        weight_mapping_type=MappingType.SYMMETRIC,
    )

    def chosen(child: nn.Module, name: str) -> bool:
        return isinstance(child, nn.Linear) and not is_quantized(child) and (only is None or name in only)

    quantize_(module, config, chosen)
    return module


def is_quantized(linear: nn.Linear) -> bool:
    """Whether the weights of a layer are quantized."""
    return hasattr(linear.weight, "qdata")
