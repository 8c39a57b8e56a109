"""Sizes of a network that every family has."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class LayerDims:
    """One Transformer layer: attention heads (`cross_heads` 0: none) and width of the feed-forward part."""

    heads: int
    ffn: int
    cross_heads: int = 0


@dataclass(frozen=True)
class Dims:
    """Sizes of an encoder and a decoder; layers may differ from one another after pruning.

    family: name of the family, see `compress.networks.family`. audio_ctx: positions that the encoder knows.
    text_ctx: positions that the decoder knows. ranks: (name, rank) of the linear layers that are products of
    two. ctc: symbols of the CTC head, the blank among them; 0: no head. adapters: rank of the encoder's
    adapters for encoding in chunks; 0: none.
    """

    family: ClassVar[str]

    state: int
    head_dim: int
    audio_ctx: int
    text_ctx: int
    vocab: int
    encoder: tuple[LayerDims, ...]
    decoder: tuple[LayerDims, ...]
    ranks: tuple[tuple[str, int], ...] = ()
    ctc: int = 0
    adapters: int = 0

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; what a network does not have is left out."""
        return {
            **{name: getattr(self, name) for name in ("state", "head_dim", "audio_ctx", "text_ctx", "vocab")},
            "encoder": [{"heads": x.heads, "ffn": x.ffn} for x in self.encoder],
            "decoder": [{"heads": x.heads, "ffn": x.ffn, "cross_heads": x.cross_heads} for x in self.decoder],
            **({"ranks": dict(self.ranks)} if self.ranks else {}),
            **{name: value for name in ("ctc", "adapters") if (value := getattr(self, name))},
        }

    def key(self) -> str:
        """The family and all sizes as one text: equal where two networks have the same shape."""
        return json.dumps([self.family, self.to_json()], sort_keys=True)


def common_fields(values: dict[str, Any]) -> dict[str, Any]:
    """The values of `Dims.to_json` as arguments of a family's dims."""
    layers = {side: tuple(LayerDims(**x) for x in values[side]) for side in ("encoder", "decoder")}
    ranks = tuple((str(name), int(rank)) for name, rank in values.get("ranks", {}).items())
    return {**values, **layers, "ranks": ranks}
