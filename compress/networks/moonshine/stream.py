"""The streaming encoder as a program: a chunk of audio and the state go in, the chunk's frames and the state come out.

What it computes is the chunk-masked network (`Moonshine.encode` with a `Chunking`) over 32 ms of silence and then the
audio, chunk by chunk. A position reads 32 ms behind its own 24; the silence before makes room for that, so that
every chunk's audio brings as many positions.

Where a chunk has a look-ahead, a call computes a block: the oldest chunk that has not had its look-ahead yet, which
becomes final, and the chunks after it provisionally. The next call computes those again. Samples go through the first
two convolutions once: see `Encoder.second`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from compress.networks.chunking import Chunking
from compress.networks.layers import CTC_WIDTH, Attention
from compress.networks.masks import MASKED
from compress.networks.moonshine.dims import MoonshineDims
from compress.networks.moonshine.frontend import FRAMES_BEFORE, HOP, SAMPLES_PER_POSITION
from compress.networks.moonshine.network import Moonshine
from compress.networks.moonshine.rotary import frequencies
from compress.networks.network import StreamModule, left_contexts, stream_signature
from device_asr.errors import UsageError

DELAY = 8 * HOP  # samples of silence before the audio: what a position reads behind its own, in whole hops
FRAMES = 4  # earlier ones of the first convolution that the second still needs
FIXED = 7  # states before those of the layers


class StreamProgram(StreamModule):
    """One chunk through the encoder, static shapes, batch 1."""

    order: Tensor
    seen: Tensor
    frequencies: Tensor

    def __init__(self, network: Moonshine, chunking: Chunking) -> None:
        super().__init__()
        if network.ctc is None:
            raise ValueError("wanted a network with a CTC head")
        if network.ctc.reach > chunking.size:
            raise UsageError(
                f"stream.size: wanted chunks of at least {network.ctc.reach} positions, which the CTC head reads on "
                f"each side, found {chunking.size}."
            )
        self.encoder, self.ctc = network.chunk_encoder(), network.ctc
        self.encoder.keep_constants()
        self.cross = cast(Sequence[Attention], nn.ModuleList(layer.cross for layer in network.decoder.layers))
        self.chunking, self.dims = chunking, network.dims
        self.register_buffer("order", torch.arange(chunking.block), persistent=False)
        self.register_buffer("seen", torch.arange(-chunking.left_context, chunking.block), persistent=False)
        self.register_buffer("frequencies", frequencies(network.encoder.dims.rotary), persistent=False)

    def forward(
        self,
        pcm: Tensor,
        position: Tensor,
        tail: Tensor,
        frames: Tensor,
        mean: Tensor,
        square: Tensor,
        waiting: Tensor,
        moments: Tensor,
        keys: list[Tensor],
        values: list[Tensor],
        heard: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Args:
            pcm: (1, 384 * size) float32. position: (1,) int64, of the block's first one, counted from 0; below 0
                before there is a whole look-ahead: those positions are no part of the audio.
            tail: (1, 64), the audio before. frames: (1, 4, conv1), the last of the first convolution.
            mean, square: (1, 1, 1), moments of all its frames so far.
            waiting: (1, 2 * size * look_ahead + 1, conv2) of the second one, of the chunks that are computed again
                and the frame before them. moments: (1, the same, 2), their mean and mean square.
            keys, values: each encoder layer's left context, (heads, head_dim, left_context), turned, and
                (heads, left_context, head_dim).
            heard: (1, reach, CTC_WIDTH), features of the CTC head of the last final positions, where it has a reach.

        Returns:
            CTC logits (block, symbols); each decoder layer's cross-attention keys (heads, head_dim, block),
            then values (heads, block, head_dim): of each the first `size` are final; then the state as it was
            given, moved on by a chunk.
        """
        size, left, block = self.chunking.size, self.chunking.left_context, self.chunking.block
        audio = torch.cat([tail, pcm], dim=1)
        new = self.encoder.first(audio.reshape(1, 6 * size + 1, HOP))
        share = 6.0 * size / ((position + block).to(torch.float32) * 6.0 + FRAMES_BEFORE)
        wide = new.unsqueeze(1)  # XNNPACK's mean takes the last two axes of four
        mean = mean + (wide.mean((2, 3), keepdim=True)[:, 0] - mean) * share
        square = square + ((wide * wide).mean((2, 3), keepdim=True)[:, 0] - square) * share
        second = torch.cat([waiting, self.encoder.second(torch.cat([frames, new], dim=1))], dim=1)
        now = torch.cat([mean, square], dim=2)
        began = (position > 0).to(torch.float32)  # the first block's chunks share its moments
        earlier = moments * began + now * (1.0 - began)
        known = torch.cat([earlier, now.expand(1, 2 * size, 2)], dim=1)
        x = self.encoder.third(second, known[:, :, :1], known[:, :, 1:])
        angles = (position + self.order).to(torch.float32).unsqueeze(1) * self.frequencies
        at = torch.cos(angles), torch.sin(angles)
        mask = ((position + self.seen < 0).to(torch.float32) * MASKED).unsqueeze(0)
        new_keys, new_values, lower = [], [], {}
        for i, layer in enumerate(self.encoder.layers):
            normed = layer.attention_norm(x)
            own_keys, own_values = layer.attention.keys_values(normed)
            all_keys = torch.cat([keys[i], layer.attention.turned_keys(own_keys, at)], 2)
            all_values = torch.cat([values[i], own_values], 1)
            new_keys.append(all_keys[:, :, size : size + left])
            new_values.append(all_values[:, size : size + left])
            queries = layer.attention.turned_queries(normed, at)
            x = x + layer.attention.attend(queries, all_keys, all_values, mask)[0]
            x = x + layer.ffn(layer.ffn_norm(x))
            lower[i] = x
        states = self.encoder.norm(x)
        features = self.ctc.features(torch.cat([states, *(lower[i] for i in self.encoder.dims.ctc_layers)], dim=2))
        reach = self.ctc.reach
        cross = [attention.keys_values(states) for attention in self.cross]
        return (
            self.ctc.symbols(features, heard).squeeze(0),
            *(k for k, _ in cross),
            *(v for _, v in cross),
            position + size,
            audio[:, -HOP:],
            new[:, -FRAMES:],
            mean,
            square,
            second[:, 2 * size :],
            known[:, 2 * size :],
            *new_keys,
            *new_values,
            *([features[:, size - reach : size] * (position >= 0).to(torch.float32)] if reach else []),
        )

    def state_of(self, outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The state among the outputs of `forward`, as it takes it."""
        layers, heard = len(self.dims.encoder), int(self.ctc.reach > 0)
        flat = outputs[-2 * layers - FIXED - heard :]
        end = FIXED + 2 * layers
        return (*flat[:FIXED], list(flat[FIXED : FIXED + layers]), list(flat[FIXED + layers : end]), *flat[end:])


def example(dims: MoonshineDims, chunking: Chunking) -> tuple[Any, ...]:
    """The arguments of `StreamProgram.forward` before any audio; its first chunk is noise."""
    look_ahead = chunking.block - chunking.size  # positions
    return (
        torch.randn(1, SAMPLES_PER_POSITION * chunking.size) * 0.1,
        torch.tensor([-look_ahead]),
        torch.zeros(1, HOP),
        torch.zeros(1, FRAMES, dims.conv1),
        torch.zeros(1, 1, 1),
        torch.zeros(1, 1, 1),
        torch.zeros(1, 2 * look_ahead + 1, dims.conv2),
        torch.zeros(1, 2 * look_ahead + 1, 2),
        *left_contexts(dims, chunking),
        *([torch.zeros(1, dims.ctc_reach, CTC_WIDTH)] if dims.ctc_reach else []),
    )


def signature(dims: MoonshineDims, chunking: Chunking) -> dict[str, Any]:
    """The method for the manifest; see `stream_signature`."""
    size, block = chunking.size, chunking.block
    waiting = 2 * (block - size) + 1
    states: list[tuple[str, list[int], str, Any]] = [
        ("position", [1], "int64", size - block),
        ("tail", [1, HOP], "float32", 0.0),
        ("frames", [1, FRAMES, dims.conv1], "float32", 0.0),
        ("mean", [1, 1, 1], "float32", 0.0),
        ("square", [1, 1, 1], "float32", 0.0),
        ("waiting", [1, waiting, dims.conv2], "float32", 0.0),
        ("moments", [1, waiting, 2], "float32", 0.0),
    ]
    heard = [("heard", [1, dims.ctc_reach, CTC_WIDTH], "float32", 0.0)] if dims.ctc_reach else []
    return stream_signature(dims, chunking, SAMPLES_PER_POSITION * size, DELAY, states, heard)
