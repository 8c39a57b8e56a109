"""Sizes of a Whisper-shaped network."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class LayerDims:
    """One Transformer layer: attention heads (`cross_heads` 0: none) and width of the feed-forward part."""

    heads: int
    ffn: int
    cross_heads: int = 0


@dataclass(frozen=True)
class Dims:
    """Sizes of a Whisper-shaped network; layers may differ from one another after pruning.

    audio_ctx: positions of 20 ms the encoder knows. text_ctx: positions the decoder knows.
    ranks: (name, rank) of the linear layers that are products of two. ctc: symbols of the CTC head,
    the blank among them; 0: no head. adapters: rank of the encoder's changes when it hears in chunks; 0: none.
    """

    n_mels: int
    state: int
    head_dim: int
    audio_ctx: int
    text_ctx: int
    vocab: int
    encoder: tuple[LayerDims, ...]
    decoder: tuple[LayerDims, ...]
    # outside of repr, which keys the teacher's labels on disk: the names of the weights tell them there
    ranks: tuple[tuple[str, int], ...] = field(default=(), repr=False)
    ctc: int = field(default=0, repr=False)
    adapters: int = field(default=0, repr=False)

    def to_json(self) -> dict:
        """As plain JSON values."""
        return {
            **{k: getattr(self, k) for k in ("n_mels", "state", "head_dim", "audio_ctx", "text_ctx", "vocab")},
            "encoder": [{"heads": x.heads, "ffn": x.ffn} for x in self.encoder],
            "decoder": [{"heads": x.heads, "ffn": x.ffn, "cross_heads": x.cross_heads} for x in self.decoder],
            **({"ranks": dict(self.ranks)} if self.ranks else {}),
            **{name: value for name in ("ctc", "adapters") if (value := getattr(self, name))},
        }

    @classmethod
    def from_json(cls, values: dict) -> Dims:
        """The inverse of `to_json`."""
        layers = {side: tuple(LayerDims(**x) for x in values[side]) for side in ("encoder", "decoder")}
        ranks = tuple((str(name), int(rank)) for name, rank in values.get("ranks", {}).items())
        return cls(**{**values, **layers, "ranks": ranks})
