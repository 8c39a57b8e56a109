"""What is exported: the network's methods with caches as explicit inputs and outputs, batch 1.

Attention is written over per-layer tensors, so that nothing is stacked or sliced between calls:
the encoder's keys and values go from `encode` to `decode` untouched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.export import Dim

from compress.networks.decoder import EXAMPLE_POSITIONS, FEWEST_POSITIONS, DecodeModule
from compress.networks.dims import Dims
from compress.networks.layers import Attention
from compress.networks.moonshine.encoder import Turns
from compress.networks.moonshine.frontend import HOP, SAMPLES_PER_POSITION
from compress.networks.moonshine.network import Moonshine
from compress.networks.moonshine.rotary import frequencies

SILENCE = 8  # hops behind the audio: what the last position reads behind its own


class EncodeProgram(nn.Module):
    """PCM of an utterance -> every decoder layer's cross-attention keys and values.

    It adds 32 ms of silence, so that there are as many positions as 24 ms of audio; the network alone makes two fewer.
    WER with and without: 7.8 and 7.9 % on librispeech-other-dev, 9.4 and 9.0 on common-voice-dev.
    """

    silence: Tensor

    def __init__(self, network: Moonshine) -> None:
        super().__init__()
        self.frontend, self.encoder = network.frontend, network.encoder
        self.register_buffer("silence", torch.zeros(1, SILENCE, HOP), persistent=False)
        self.encoder.keep_constants()
        self.cross = cast(Sequence[Attention], nn.ModuleList(layer.cross for layer in network.decoder.layers))

    def forward(self, pcm: Tensor) -> tuple[Tensor, ...]:
        """(1, 384 * s) float32 -> keys (heads, head_dim, s) of each layer, then values (heads, s, head_dim)."""
        audio = self.encoder(torch.cat([self.frontend(pcm), self.silence], dim=1))
        pairs = [cross.keys_values(audio) for cross in self.cross]
        return (*(keys for keys, _ in pairs), *(values for _, values in pairs))


class DecodeProgram(DecodeModule):
    """The keys in its cache are turned, and there is no last position."""

    frequencies: Tensor

    def __init__(self, network: Moonshine, alignment_heads: tuple[tuple[int, int], ...], cache: int) -> None:
        super().__init__(network.decoder, alignment_heads, cache)
        self.register_buffer("frequencies", frequencies(network.decoder.dims.rotary))

    def placed(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Turns]:
        angles = positions.to(torch.float32).unsqueeze(1) * self.frequencies
        return x, (torch.cos(angles), torch.sin(angles))


def encode_arguments(dims: Dims) -> tuple[tuple[Any, ...], Any]:
    """Example arguments and dynamic shapes of `encode`."""
    positions = Dim("positions", min=FEWEST_POSITIONS, max=dims.audio_ctx)
    pcm = torch.randn(1, SAMPLES_PER_POSITION * EXAMPLE_POSITIONS) * 0.1
    return (pcm,), ({1: SAMPLES_PER_POSITION * positions},)
