"""Sizes of a network that every family has."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from compress.networks.weights import CheckpointError

MOST_LAYERS = 256  # of a side; Whisper large has 32
# the most of each size: several times Whisper large's, so that a damaged one asks for no memory
MOST = {
    "state": 1 << 14,
    "head_dim": 1 << 12,
    "audio_ctx": 1 << 14,
    "text_ctx": 1 << 14,
    "vocab": 1 << 20,
    "heads": 1 << 10,
    "cross_heads": 1 << 10,
    "ffn": 1 << 16,
    "rank": 1 << 14,
    "ctc": 1 << 12,
    "adapters": 1 << 12,
    "n_mels": 1 << 10,
    "conv1": 1 << 14,
    "conv2": 1 << 14,
    "rotary": 1 << 12,
}
NONE = ("cross_heads", "ctc", "adapters")  # sizes that may be 0: there is none


def check_size(name: str, value: Any) -> None:
    """Raises CheckpointError where a size is no whole number within the bounds of its name."""
    least = 0 if name in NONE else 1
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MOST[name]:
        raise CheckpointError(
            f"Wanted {name} of a network from {least} to {MOST[name]}, found {str(value)[:60]}; "
            "the checkpoint is damaged, copy or make it again."
        )


def check_layers(count: int) -> None:
    """Raises CheckpointError where a side of a network has no layer, or more than any network has."""
    if not 1 <= count <= MOST_LAYERS:
        raise CheckpointError(
            f"Wanted from 1 to {MOST_LAYERS} layers, found {count}; the checkpoint is damaged, copy or make it again."
        )


@dataclass(frozen=True)
class LayerDims:
    """One Transformer layer: attention heads (`cross_heads` 0: none) and width of the feed-forward part."""

    heads: int
    ffn: int
    cross_heads: int = 0

    def __post_init__(self) -> None:
        for name in ("heads", "ffn", "cross_heads"):
            check_size(name, getattr(self, name))


@dataclass(frozen=True)
class Dims:
    """Sizes of an encoder and a decoder; layers may differ from one another after pruning.

    family: name of the family, see `compress.networks.family`. audio_ctx: positions that the encoder knows.
    text_ctx: positions that the decoder knows. ranks: (name, rank) of the linear layers that are products of
    two. ctc: symbols of the CTC head, the blank among them; 0: no head. adapters: rank of the encoder's
    adapters for encoding in chunks; 0: none.

    Raises:
        CheckpointError: a size is beyond `MOST`, see `check_size`.
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

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self) if field.name in MOST):
            check_size(name, getattr(self, name))
        for _, rank in self.ranks:
            check_size("rank", rank)
        for layers in (self.encoder, self.decoder):
            check_layers(len(layers))

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
