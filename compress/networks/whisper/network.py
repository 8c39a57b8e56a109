"""Whisper's encoder and decoder in plain PyTorch, for teacher and student; the sizes are data.

One code is trained and exported: convolutions are linear layers over neighboring
frames, attention is `bmm` and `softmax`, LayerNorm can be switched to a form that XNNPACK takes whole
(`native_layer_norm` splits the delegate once per use: into 13 parts on a 6-layer encoder).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.networks import decoder
from compress.networks.adapters import LayerAdapters, adapted
from compress.networks.chunking import Chunking, attended, without_look_ahead
from compress.networks.dims import Dims, LayerDims
from compress.networks.factored import factor
from compress.networks.layers import Attention, CtcHead, FeedForward, LayerNorm, remembering
from compress.networks.masks import MASKED, padding, position_count
from compress.networks.network import SpeechNetwork
from compress.networks.whisper.dims import WhisperDims
from compress.networks.whisper.frontend import SAMPLES_PER_POSITION, LogMel

# Scores a head up to which training keeps what the backward pass of an encoder layer needs; of more it is computed
# again. 8 clips of 29 s encoded whole are of 1450 positions and 5 GB.
REMEMBERED = 8 * 1500**2


def frequencies(state: int) -> Tensor:
    """(state / 2,) float32: 1 to 1/10000 radians a position."""
    return torch.exp(-torch.arange(state // 2) * (math.log(10_000.0) / (state // 2 - 1)))


def sinusoids(count: int, state: int) -> Tensor:
    """Whisper's encoder positions: (count, state) float32, sines then cosines of 1 to 1/10000 radians a position."""
    angles = torch.arange(count)[:, None] * frequencies(state)
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)


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

    def forward_chunks(self, x: Tensor, mask: Tensor, chunking: Chunking) -> Tensor:
        """`forward` of every chunk's block with its left context.

        Args:
            x: (batch, chunks, block, state).
            mask: (batch, chunks, left_context + block), over the positions that a chunk attends to.
        """
        batch, chunks, block, state = x.shape
        normed = self.attention_norm(x).reshape(batch * chunks, block, state)
        keys, values = self.attention.keys_values(normed)
        keys = self.attention.with_left_context(keys.transpose(1, 2), batch, chunking).transpose(1, 2)
        mixed, _ = self.attention(
            normed, keys, self.attention.with_left_context(values, batch, chunking), mask.flatten(0, 1)[:, None]
        )
        x = x + mixed.view(x.shape)
        return x + self.ffn(self.ffn_norm(x))


class DecoderLayer(decoder.DecoderLayer):
    def __init__(self, dims: Dims, layer: LayerDims) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(dims.state)
        self.attention = Attention(dims.state, layer.heads, dims.head_dim)
        self.cross_norm = LayerNorm(dims.state)
        self.cross = Attention(dims.state, layer.cross_heads, dims.head_dim)
        self.ffn_norm = LayerNorm(dims.state)
        self.ffn = FeedForward(dims.state, layer.ffn)


class Encoder(nn.Module):
    """Log-mel frames to hidden states, 50 a second."""

    positions: Tensor | None  # (audio_ctx, state); None in a program, where `sines` computes them
    sines: Callable[[int], Tensor]

    def __init__(self, dims: WhisperDims) -> None:
        super().__init__()
        self.dims = dims
        # Convolutions of width 3 over frames, as linear layers over (previous, this, next): int8 per
        # channel like every other linear layer. Columns are ordered (frame, channel).
        self.conv1 = nn.Linear(3 * dims.n_mels, dims.state)
        self.conv2 = nn.Linear(3 * dims.state, dims.state)
        self.register_buffer("positions", sinusoids(dims.audio_ctx, dims.state))  # never trained
        layers = nn.ModuleList(EncoderLayer(dims, layer) for layer in dims.encoder)
        self.layers = cast(Sequence[EncoderLayer], layers)
        self.norm = LayerNorm(dims.state)

    def convolve(self, mel: Tensor) -> Tensor:
        """(batch, 2 n, n_mels) -> (batch, n, state): both convolutions, without positions."""
        batch, _, width = mel.shape
        edge = mel.new_zeros(batch, 1, width)
        x = F.gelu(
            self.conv1(torch.cat([torch.cat([edge, mel[:, :-1]], 1), mel, torch.cat([mel[:, 1:], edge], 1)], dim=2))
        )
        state = x.shape[2]
        pairs = x.reshape(batch, -1, 2 * state)  # stride 2: frames (2 i, 2 i + 1) side by side
        before = torch.cat([x.new_zeros(batch, 1, state), pairs[:, :-1, state:]], dim=1)
        return F.gelu(self.conv2(torch.cat([before, pairs], dim=2)))

    def positions_of(self, count: int) -> Tensor:
        """The first `count` positions, (count, state)."""
        return self.positions[:count] if self.positions is not None else self.sines(count)

    def _located(self, mel: Tensor, start: int) -> Tensor:
        """The input of the layers, (batch, n, state); after the last position comes position 0 again."""
        x = self.convolve(mel)
        count = x.shape[1]
        if start == 0 or self.positions is None:
            return x + self.positions_of(count)
        return x + self.positions.roll(-start, 0)[:count]

    def forward(self, mel: Tensor, mask: Tensor | None = None, start: int = 0) -> Tensor:
        """Args:
            mel: (batch, 2 n, n_mels) float32, n <= dims.audio_ctx.
            mask: added to the scores, (n, n) or (batch, n or 1, n).
            start: the first one's position.

        Returns:
            (batch, n, state).
        """
        x = self._located(mel, start)
        for layer in self.layers:
            x = remembering(REMEMBERED, x.shape[0] * x.shape[1] ** 2, layer, x, mask)
        return self.norm(x)

    def forward_chunks(self, mel: Tensor, chunking: Chunking, counts: Tensor, start: int = 0) -> Tensor:
        """Log-mel frames to hidden states, encoded in chunks.

        Args:
            counts: (batch or 1,) int64, positions of each clip's audio; later ones are not attended to.

        Returns:
            (batch, chunks, block, state): each chunk's own states, then its provisional ones of the look-ahead.
        """
        x = self._located(mel, start)
        read = attended(x.shape[1], chunking, x.device)
        block = read[:, chunking.left_context :]
        x = F.pad(x, (0, 0, 0, int(block[-1, -1]) + 1 - x.shape[1]))[:, block]
        nothing = (read < 0) | (read >= counts[:, None, None])
        mask = (nothing.to(x.dtype) * MASKED).expand(x.shape[0], -1, -1)
        for layer in self.layers:
            x = remembering(
                REMEMBERED, x.shape[0] * read.numel() * chunking.block, layer.forward_chunks, x, mask, chunking
            )
        return self.norm(x)


class Decoder(decoder.Decoder):
    """Its positions are learned, and added to the tokens."""

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.embedding = nn.Embedding(dims.vocab, dims.state)
        self.positions = nn.Parameter(torch.zeros(dims.text_ctx, dims.state))
        layers = nn.ModuleList(DecoderLayer(dims, layer) for layer in dims.decoder)
        self.layers = cast(Sequence[decoder.DecoderLayer], layers)
        self.norm = LayerNorm(dims.state)

    def placed(self, x: Tensor, positions: Tensor) -> tuple[Tensor, None]:
        return x + torch.index_select(self.positions, 0, positions), None


class Whisper(SpeechNetwork):
    """Frontend, encoder and decoder."""

    frontend: LogMel
    decoder: Decoder

    def __init__(self, dims: WhisperDims) -> None:
        super().__init__()
        self.dims = dims
        self.frontend = LogMel(dims.n_mels)
        self.encoder = Encoder(dims)
        self.decoder = Decoder(dims)
        self.ctc = CtcHead(dims.state, dims.ctc) if dims.ctc else None
        self.adapters = self._adapters(dims.adapters) if dims.adapters else None
        factor(self, dims.ranks)

    def _adapters(self, rank: int) -> nn.ModuleList:
        return nn.ModuleList(LayerAdapters(cast(nn.Module, layer), rank) for layer in self.encoder.layers)

    def chunk_encoder(self) -> Encoder:
        """The encoder that encodes in chunks: with the adapters where there are some; it shares `encoder`'s weights."""
        return self.encoder if self.adapters is None else adapted(self.encoder, "layers", self.adapters)

    def encode(
        self, pcm: Tensor, lengths: Tensor | None = None, chunking: Chunking | None = None, start: int = 0
    ) -> tuple[Tensor, Tensor | None]:
        """Encoder states of padded clips.

        Args:
            pcm: (batch, samples) float32, a multiple of 320 samples.
            lengths: (batch,) true samples; None: all. Padding is hidden from attention.
            chunking: encodes in chunks; None: each clip at once. start: see `Encoder`.

        Returns:
            states (batch, samples / 320, state), and the mask (batch, samples / 320) of 0 and MASKED.
        """
        count = pcm.shape[1] // SAMPLES_PER_POSITION
        mask = (
            None if lengths is None else padding(torch.arange(count, device=pcm.device), lengths, SAMPLES_PER_POSITION)
        )
        if chunking is None:
            return self.encoder(self.frontend(pcm, None), None if mask is None else mask[:, None], start), mask
        states, _ = self.encode_chunks(pcm, lengths, chunking, start)
        return without_look_ahead(states, chunking)[:, :count], mask

    def encode_chunks(
        self, pcm: Tensor, lengths: Tensor | None, chunking: Chunking, start: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Encoder states of padded clips, encoded in chunks, those of each look-ahead among them.

        Args:
            pcm, lengths, chunking, start: see `encode`.

        Returns:
            states (batch, chunks, block, state), of which the first `size` of a chunk are final; and the positions
            of each block, (chunks, block) int64, some of which are behind the last.
        """
        mel = self.frontend(pcm, chunking.size)
        samples = torch.tensor([pcm.shape[1]], device=pcm.device) if lengths is None else lengths
        counts = position_count(samples, SAMPLES_PER_POSITION)
        states = self.chunk_encoder().forward_chunks(mel, chunking, counts, start)
        return states, attended(mel.shape[1] // 2, chunking, pcm.device)[:, chunking.left_context :]
