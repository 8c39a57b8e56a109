"""Adapters: low-rank changes of the encoder's linear layers (LoRA, Hu et al. 2021) for encoding in chunks.

The weights for whole utterances stay as they are, and so do the final texts: trained for both ways of encoding
at once, the same weights wrote 0.8 % of librispeech-other-dev's words worse. A second encoder would be 8 MB.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.networks.factored import Factored

M = TypeVar("M", bound=nn.Module)
PARTS = ("attention", "ffn")  # of an encoder layer, whose linear layers have changes


class Adapted(nn.Module):
    """A linear layer with a change."""

    def __init__(self, linear: nn.Module, change: nn.Module) -> None:
        super().__init__()
        self.linear, self.change = linear, change

    def forward(self, x: Tensor) -> Tensor:
        linear, change = self.linear, self.change
        if torch.is_grad_enabled() and type(linear) is nn.Linear and isinstance(change, Factored):
            # one product with the changed weight: the thin products of a change take as long as the layer's own
            weight = linear.weight + change.up.weight @ change.down.weight
            bias: Tensor | None = linear.bias
            if change.up.bias is not None:
                bias = change.up.bias if bias is None else bias + change.up.bias
            return F.linear(x, weight, bias)
        result: Tensor = linear(x) + change(x)
        return result


class LayerAdapters(nn.Module):
    """The changes of one encoder layer's linear layers, each named as the layer it changes.

    Args:
        layer: with the parts `PARTS`, whose linear layers are not factored yet. rank: of each change.
    """

    def __init__(self, layer: nn.Module, rank: int) -> None:
        super().__init__()
        for part in PARTS:
            children = layer.get_submodule(part).named_children()
            changes = {name: _change(child, rank) for name, child in children if isinstance(child, nn.Linear)}
            self.add_module(part, nn.ModuleDict(changes))

    def silence(self) -> None:
        """Lets the changes be zero until they are trained, in place."""
        for module in self.modules():
            if isinstance(module, Factored):
                nn.init.zeros_(module.up.weight)
                if module.up.bias is not None:
                    nn.init.zeros_(module.up.bias)


def _change(linear: nn.Linear, rank: int) -> Factored:
    """An untrained change of a linear layer; it has a bias where the layer has one."""
    return Factored(linear.in_features, linear.out_features, rank, linear.bias is not None)


def adapted(encoder: M, layers: str, adapters: Iterable[nn.Module]) -> M:
    """An encoder with the changes; its other weights are the tensors of `encoder` itself.

    Args:
        layers: name of the encoder's list of layers. adapters: `LayerAdapters` of each of them.
    """
    shared = {id(tensor): tensor for tensor in (*encoder.parameters(), *encoder.buffers())}
    changed = copy.deepcopy(encoder, shared)
    for layer, changes in zip(changed.get_submodule(layers).children(), adapters, strict=True):
        for part, group in changes.named_children():
            module = layer.get_submodule(part)
            for name, change in group.named_children():
                setattr(module, name, Adapted(module.get_submodule(name), change))
    return changed
