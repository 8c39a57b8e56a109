"""Moonshine (Jeffries et al. 2024) in plain PyTorch; the sizes are data.

One code is trained and exported: convolutions are linear layers over neighboring frames, attention is `bmm` and
`softmax`, positions are turns of queries and keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.networks import decoder
from compress.networks.adapters import LayerAdapters, adapted
from compress.networks.chunking import Chunking, attended, without_look_ahead
from compress.networks.dims import LayerDims
from compress.networks.factored import factor
from compress.networks.layers import Attention, CtcHead, GatedFeedForward, LayerNorm
from compress.networks.masks import padding
from compress.networks.moonshine.dims import MoonshineDims
from compress.networks.moonshine.encoder import Encoder, RotaryAttention, Turns
from compress.networks.moonshine.frontend import OVERHANG, SAMPLES_PER_POSITION, SHORTEST, Hops, first_frames
from compress.networks.moonshine.rotary import turns
from compress.networks.network import SpeechNetwork


class DecoderLayer(decoder.DecoderLayer):
    def __init__(self, dims: MoonshineDims, layer: LayerDims) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(dims.state, bias=False)
        self.attention = RotaryAttention(dims, layer.heads)
        self.cross_norm = LayerNorm(dims.state, bias=False)
        self.cross = Attention(dims.state, layer.cross_heads, dims.head_dim, bias=False)
        self.ffn_norm = LayerNorm(dims.state, bias=False)
        self.ffn = GatedFeedForward(dims.state, layer.ffn)


class Decoder(decoder.Decoder):
    """Its positions are turns of queries and keys."""

    def __init__(self, dims: MoonshineDims) -> None:
        super().__init__()
        self.dims = dims
        self.embedding = nn.Embedding(dims.vocab, dims.state)
        layers = nn.ModuleList(DecoderLayer(dims, layer) for layer in dims.decoder)
        self.layers = cast(Sequence[decoder.DecoderLayer], layers)
        self.norm = LayerNorm(dims.state, bias=False)

    def placed(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Turns]:
        return x, turns(positions, self.dims.rotary)


class Moonshine(SpeechNetwork):
    """Frontend, encoder and decoder."""

    frontend: Hops
    decoder: Decoder

    def __init__(self, dims: MoonshineDims) -> None:
        super().__init__()
        self.dims = dims
        self.frontend = Hops()
        self.encoder = Encoder(dims)
        self.decoder = Decoder(dims)
        self.ctc = CtcHead(dims.state, dims.ctc, len(dims.ctc_layers), dims.ctc_reach) if dims.ctc else None
        self.adapters = self._adapters(dims.adapters) if dims.adapters else None
        factor(self, dims.ranks)

    def _adapters(self, rank: int) -> nn.ModuleList:
        return nn.ModuleList(LayerAdapters(cast(nn.Module, layer), rank) for layer in self.encoder.layers)

    def _hops(self, pcm: Tensor) -> Tensor:
        """Hops of at least one position."""
        hops: Tensor = self.frontend(F.pad(pcm, (0, max(0, SHORTEST - pcm.shape[1]))), None)
        return hops

    def chunk_encoder(self) -> Encoder:
        """The encoder that encodes in chunks: with the adapters where there are some; it shares `encoder`'s weights."""
        return self.encoder if self.adapters is None else adapted(self.encoder, "layers", self.adapters)

    def encode(
        self, pcm: Tensor, lengths: Tensor | None = None, chunking: Chunking | None = None, start: int = 0
    ) -> tuple[Tensor, Tensor | None]:
        """Encoder states of padded clips.

        Args:
            pcm: (batch, samples) float32, a multiple of 384 samples; fewer than 1152 are padded to that many.
            lengths: (batch,) true samples; None: all. Padding is hidden from attention and from the normalization.
            chunking: encodes in chunks; None: each clip at once.
            start: changes nothing, since only the distances of positions count.

        Returns:
            states (batch, samples / 384 - 2, state), and their mask of 0 and MASKED, None without lengths.
        """
        hops = self._hops(pcm)
        count = hops.shape[1] // 6 - 2
        order = torch.arange(count, device=pcm.device)
        mask = None if lengths is None else padding(order, lengths - OVERHANG, SAMPLES_PER_POSITION)
        if chunking is None:
            counts = None if lengths is None else first_frames(lengths)
            return self.encoder(hops, None if mask is None else mask[:, None], counts), mask
        states, _ = self.encode_chunks(pcm, lengths, chunking, start)
        return without_look_ahead(states, chunking)[:, :count, : self.dims.state], mask

    def encode_chunks(
        self,
        pcm: Tensor,
        lengths: Tensor | None,
        chunking: Chunking,
        start: int = 0,  # noqa: ARG002 - see `encode`
    ) -> tuple[Tensor, Tensor]:
        """Encoder states of padded clips, encoded in chunks, those of each look-ahead among them.

        Args:
            pcm, lengths, chunking, start: see `encode`.

        Returns:
            states (batch, chunks, block, state), of which the first `size` of a chunk are final, behind each one's
            those of the layers `MoonshineDims.ctc_layers`; and the positions of each block, (chunks, block) int64,
            some of which are behind the last.
        """
        hops = self._hops(pcm)
        samples = torch.tensor([pcm.shape[1]], device=pcm.device) if lengths is None else lengths
        states = self.chunk_encoder().forward_chunks(hops, chunking, samples)
        return states, attended(hops.shape[1] // 6 - 2, chunking, pcm.device)[:, chunking.left_context :]
