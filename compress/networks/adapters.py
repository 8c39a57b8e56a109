"""What the encoder does otherwise when it hears in chunks: low-rank changes of its layers (LoRA, Hu et al. 2021).

The weights of whole utterances stay as they are, and so does what finals say: trained for both ways of hearing at
once, the same weights wrote 0.8 % of librispeech-other-dev's words worse. A second encoder would be 8 MB.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from torch import Tensor, nn

from compress.networks.factored import Factored

if TYPE_CHECKING:
    from compress.networks.whisper.dims import Dims, LayerDims
    from compress.networks.whisper.network import Encoder


class Adapted(nn.Module):
    """A linear layer with a change."""

    def __init__(self, linear: nn.Module, change: Factored) -> None:
        super().__init__()
        self.linear, self.change = linear, change

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.change(x)


class LayerAdapters(nn.Module):
    """The changes of one encoder layer's linear layers, each named as the layer it changes."""

    def __init__(self, dims: Dims, layer: LayerDims) -> None:
        super().__init__()
        state, inner, rank = dims.state, layer.heads * dims.head_dim, dims.adapters
        self.attention = nn.ModuleDict(
            {
                "query": Factored(state, inner, rank),
                "key": Factored(state, inner, rank, bias=False),
                "value": Factored(state, inner, rank),
                "out": Factored(inner, state, rank),
            }
        )
        self.ffn = nn.ModuleDict({"up": Factored(state, layer.ffn, rank), "down": Factored(layer.ffn, state, rank)})


def adapted(encoder: Encoder, adapters: nn.ModuleList) -> Encoder:
    """An encoder with the changes, whose other weights are those of `encoder`, the same tensors."""
    shared = {id(tensor): tensor for tensor in (*encoder.parameters(), *encoder.buffers())}
    changed = copy.deepcopy(encoder, shared)
    for layer, changes in zip(changed.layers, adapters, strict=True):
        for part in ("attention", "ffn"):
            module = getattr(layer, part)
            for name, change in getattr(changes, part).items():
                setattr(module, name, Adapted(getattr(module, name), change))
    return changed
