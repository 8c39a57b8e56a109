"""The teacher's and the student's network: Whisper's encoder and decoder in plain PyTorch, dims are data.

Written so that one code is trained and exported: convolutions are linear layers over neighbouring
frames, attention is `bmm` and `softmax`, LayerNorm can be switched to a form that XNNPACK takes whole
(`native_layer_norm` splits the delegate once per use: 13 pieces on a 6-layer encoder).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from compress.chunks import MASKED, Chunking, chunked
from compress.frontend import LogMel
from device_asr.errors import DeviceAsrError

# Clips x positions^2 up to which training keeps what the backward pass of an encoder layer needs; of more it is
# computed again. 8 clips of 15 s with a look-ahead are 1500 positions and 5 GB; of 29 s they would be 19 GB.
REMEMBERED = 8 * 1500**2


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
    the blank among them; 0: no head.
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

    def to_json(self) -> dict:
        """As plain JSON values."""
        return {
            **{k: getattr(self, k) for k in ("n_mels", "state", "head_dim", "audio_ctx", "text_ctx", "vocab")},
            "encoder": [{"heads": x.heads, "ffn": x.ffn} for x in self.encoder],
            "decoder": [{"heads": x.heads, "ffn": x.ffn, "cross_heads": x.cross_heads} for x in self.decoder],
            **({"ranks": dict(self.ranks)} if self.ranks else {}),
            **({"ctc": self.ctc} if self.ctc else {}),
        }

    @classmethod
    def from_json(cls, values: dict) -> Dims:
        """The inverse of `to_json`."""
        layers = {side: tuple(LayerDims(**x) for x in values[side]) for side in ("encoder", "decoder")}
        ranks = tuple((str(name), int(rank)) for name, rank in values.get("ranks", {}).items())
        return cls(**{**values, **layers, "ranks": ranks})


def frequencies(state: int) -> Tensor:
    """(state / 2,) float32: 1 to 1/10000 radians a position."""
    return torch.exp(-torch.arange(state // 2) * (math.log(10_000.0) / (state // 2 - 1)))


def sinusoids(count: int, state: int) -> Tensor:
    """Whisper's encoder positions: (count, state) float32, sines then cosines of 1 to 1/10000 radians a position."""
    angles = torch.arange(count)[:, None] * frequencies(state)
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)


class LayerNorm(nn.LayerNorm):
    """Layer normalisation; `decomposed` writes it with operations that XNNPACK delegates."""

    decomposed = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.decomposed:
            return super().forward(x)
        wide = x.unsqueeze(-2)  # XNNPACK's mean takes the last two axes of four
        centred = wide - wide.mean(dim=(-2, -1), keepdim=True)
        variance = (centred * centred).mean(dim=(-2, -1), keepdim=True)
        return (centred * torch.rsqrt(variance + self.eps)).squeeze(-2) * self.weight + self.bias


class Factored(nn.Module):
    """A linear layer as the product of two: `down` to `rank` features, `up` from them with the bias."""

    def __init__(self, columns: int, rows: int, rank: int, bias: bool = True) -> None:
        super().__init__()
        self.down = nn.Linear(columns, rank, bias=False)
        self.up = nn.Linear(rank, rows, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x))


def factor(network: nn.Module, ranks: Iterable[tuple[str, int]]) -> None:
    """Replaces the named linear layers by `Factored` ones of these ranks, untrained, in place.

    Raises:
        DeviceAsrError: the network has no linear layer of that name.
    """
    linears = {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear)}
    for name, rank in ranks:
        if name not in linears:
            raise DeviceAsrError(f"Factored layer {name}: wanted a linear layer of the network, found none; "
                                 "the ranks do not fit the other dims.")
        linear, (parent, _, own) = linears[name], name.rpartition(".")
        setattr(network.get_submodule(parent), own,
                Factored(linear.in_features, linear.out_features, rank, linear.bias is not None))


class Attention(nn.Module):
    """Multi-head attention whose keys and values are computed apart, so that they can be cached.

    Heads are folded into the batch: scores are (batch * heads, queries, keys).
    """

    def __init__(self, state: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        inner = heads * head_dim
        self.query = nn.Linear(state, inner)
        self.key = nn.Linear(state, inner, bias=False)
        self.value = nn.Linear(state, inner)
        self.out = nn.Linear(inner, state)

    def _split(self, x: Tensor) -> Tensor:
        """(batch, n, heads * head_dim) -> (batch * heads, n, head_dim)."""
        batch = x.shape[0]
        x = x.view(batch, -1, self.heads, self.head_dim).transpose(1, 2)
        return x.reshape(batch * self.heads, -1, self.head_dim)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, n, state) -> keys transposed (batch * heads, head_dim, n), values (batch * heads, n, head_dim)."""
        return self._split(self.key(x)).transpose(1, 2), self._split(self.value(x))

    def queries(self, x: Tensor) -> Tensor:
        """(batch, n, state) -> scaled queries (batch * heads, n, head_dim)."""
        return self._split(self.query(x) * self.head_dim**-0.5)

    def merge(self, mixed: Tensor, batch: int) -> Tensor:
        """(batch * heads, n, head_dim) -> (batch, n, state) through the output projection."""
        mixed = mixed.view(batch, self.heads, -1, self.head_dim).transpose(1, 2)
        return self.out(mixed.reshape(batch, -1, self.heads * self.head_dim))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Attended values (batch, n, state) and weights (batch * heads, n, keys).

        `mask` is added to the scores: (n, keys), or (batch, n or 1, keys).
        """
        scores = torch.bmm(self.queries(x), keys)
        if mask is not None:
            scores = scores + (mask if mask.dim() == 2 else mask.repeat_interleave(self.heads, 0))
        weights = torch.softmax(scores, dim=-1)
        return self.merge(torch.bmm(weights, values), x.shape[0]), weights


class FeedForward(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, state: int, ffn: int) -> None:
        super().__init__()
        self.up = nn.Linear(state, ffn)
        self.down = nn.Linear(ffn, state)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


class EncoderLayer(nn.Module):
    def __init__(self, dims: Dims, layer: LayerDims) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(dims.state)
        self.attention = Attention(dims.state, layer.heads, dims.head_dim)
        self.ffn_norm = LayerNorm(dims.state)
        self.ffn = FeedForward(dims.state, layer.ffn)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        normed = self.attention_norm(x)
        x = x + self.attention(normed, *self.attention.keys_values(normed), mask)[0]
        return x + self.ffn(self.ffn_norm(x))


class DecoderLayer(nn.Module):
    def __init__(self, dims: Dims, layer: LayerDims) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(dims.state)
        self.attention = Attention(dims.state, layer.heads, dims.head_dim)
        self.cross_norm = LayerNorm(dims.state)
        self.cross = Attention(dims.state, layer.cross_heads, dims.head_dim)
        self.ffn_norm = LayerNorm(dims.state)
        self.ffn = FeedForward(dims.state, layer.ffn)

    def finish(self, x: Tensor, cross_keys: Tensor, cross_values: Tensor,
               cross_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Cross-attention and feed-forward after self-attention; also the cross-attention weights."""
        mixed, weights = self.cross(self.cross_norm(x), cross_keys, cross_values, cross_mask)
        x = x + mixed
        return x + self.ffn(self.ffn_norm(x)), weights


class Encoder(nn.Module):
    """Log-mel frames to hidden states, 50 a second."""

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.dims = dims
        # Convolutions of width 3 over frames, as linear layers over (previous, this, next): int8 per
        # channel like every other linear layer. Columns are ordered (frame, channel).
        self.conv1 = nn.Linear(3 * dims.n_mels, dims.state)
        self.conv2 = nn.Linear(3 * dims.state, dims.state)
        self.register_buffer("positions", sinusoids(dims.audio_ctx, dims.state))  # never trained
        self.layers = nn.ModuleList(EncoderLayer(dims, layer) for layer in dims.encoder)
        self.norm = LayerNorm(dims.state)

    def convolve(self, mel: Tensor) -> Tensor:
        """(batch, 2 n, n_mels) -> (batch, n, state): both convolutions, without positions."""
        batch, _, width = mel.shape
        edge = mel.new_zeros(batch, 1, width)
        x = F.gelu(self.conv1(torch.cat([torch.cat([edge, mel[:, :-1]], 1), mel,
                                         torch.cat([mel[:, 1:], edge], 1)], dim=2)))
        state = x.shape[2]
        pairs = x.reshape(batch, -1, 2 * state)  # stride 2: frames (2 i, 2 i + 1) side by side
        before = torch.cat([x.new_zeros(batch, 1, state), pairs[:, :-1, state:]], dim=1)
        return F.gelu(self.conv2(torch.cat([before, pairs], dim=2)))

    def positions_of(self, count: int) -> Tensor:
        """The first `count` positions, (count, state)."""
        return self.positions[:count] if self.positions is not None else self.sines(count)

    def forward(self, mel: Tensor, mask: Tensor | None = None, start: int = 0,
                order: Tensor | None = None) -> Tensor:
        """Args:
            mel: (batch, 2 n, n_mels) float32, n <= dims.audio_ctx.
            mask: added to the scores, (m, m) or (batch, m or 1, m).
            start: the first one's position; after the last one comes position 0 again.
            order: (m,) int64, the positions that the layers compute, the first n in their order; None: those.

        Returns:
            (batch, n, state).
        """
        x = self.convolve(mel)
        count = x.shape[1]
        x = x + (self.positions_of(count) if start == 0 else self.positions.roll(-start, 0)[:count])
        x = x if order is None else x[:, order]
        for layer in self.layers:
            if torch.is_grad_enabled() and x.shape[0] * x.shape[1] ** 2 > REMEMBERED:
                x = checkpoint(layer, x, mask, use_reentrant=False)
            else:
                x = layer(x, mask)
        return self.norm(x[:, :count])


class Decoder(nn.Module):
    """Token ids and encoder states to logits; the output projection is the token embedding."""

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.dims = dims
        self.embedding = nn.Embedding(dims.vocab, dims.state)
        self.positions = nn.Parameter(torch.zeros(dims.text_ctx, dims.state))
        self.layers = nn.ModuleList(DecoderLayer(dims, layer) for layer in dims.decoder)
        self.norm = LayerNorm(dims.state)

    def forward(self, tokens: Tensor, audio: Tensor, cross_mask: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """Teacher-forced logits.

        Args:
            tokens: (batch, n) int64.
            audio: (batch, positions, state), the encoder's output.
            cross_mask: (batch, positions), 0 or MASKED, where a batch is padded.

        Returns:
            logits (batch, n, vocab), and each layer's cross-attention weights (batch * heads, n, positions).
        """
        length = tokens.shape[1]
        causal = torch.full((length, length), MASKED, device=tokens.device).triu(1)
        x = self.embedding(tokens) + self.positions[:length]
        attended = []
        for layer in self.layers:
            normed = layer.attention_norm(x)
            x = x + layer.attention(normed, *layer.attention.keys_values(normed), causal)[0]
            mask = None if cross_mask is None else cross_mask[:, None]
            x, weights = layer.finish(x, *layer.cross.keys_values(audio), mask)
            attended.append(weights)
        return F.linear(self.norm(x), self.embedding.weight), attended


class Whisper(nn.Module):
    """Frontend, encoder and decoder."""

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.dims = dims
        self.frontend = LogMel(dims.n_mels)
        self.encoder = Encoder(dims)
        self.decoder = Decoder(dims)
        self.ctc = nn.Linear(dims.state, dims.ctc) if dims.ctc else None
        factor(self, dims.ranks)

    def encode(self, pcm: Tensor, lengths: Tensor | None = None, chunking: Chunking | None = None,
               start: int = 0) -> tuple[Tensor, Tensor | None]:
        """Encoder states of padded clips.

        Args:
            pcm: (batch, samples) float32, a multiple of 320 samples.
            lengths: (batch,) true samples; None: all. Padding is hidden from attention.
            chunking: heard in chunks; None: each clip at once. start: see `Encoder`.

        Returns:
            states (batch, samples / 320, state), and the mask (batch, samples / 320) of 0 and MASKED.
        """
        mel = self.frontend(pcm, None if chunking is None else chunking.size)
        count = mel.shape[1] // 2
        order, seen = (None, None) if chunking is None else chunked(count, chunking, pcm.device)
        if lengths is None:
            return self.encoder(mel, seen, start, order), None
        positions = torch.arange(count, device=pcm.device)
        mask = (positions[None] * 320 >= lengths[:, None]).to(mel.dtype) * MASKED
        both = mask[:, None] if seen is None else mask[:, order][:, None] + seen
        return self.encoder(mel, both, start, order), mask

    def forward(self, pcm: Tensor, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (batch, n, vocab) of `tokens` (batch, n) given `pcm` (batch, samples)."""
        audio, mask = self.encode(pcm, lengths)
        return self.decoder(tokens, audio, mask)[0]
