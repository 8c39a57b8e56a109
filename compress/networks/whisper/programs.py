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
from compress.networks.weights import COMPUTED_ATOL
from compress.networks.whisper.frontend import SAMPLES_PER_POSITION
from compress.networks.whisper.network import Encoder, Whisper, sinusoids


class Sines(nn.Module):
    """Sinusoidal positions as products of two small tables, by the addition theorem.

    A table of 1500 positions would be 2.3 MB of a program of 24 MB; these are 0.06 MB, and 0.3 ms a call.
    """

    BLOCK = 50
    sin_coarse: Tensor
    cos_coarse: Tensor
    sin_fine: Tensor
    cos_fine: Tensor

    def __init__(self, count: int, state: int) -> None:
        super().__init__()
        blocks = -(-count // self.BLOCK)
        table = sinusoids(count + self.BLOCK, state)
        coarse, fine = table[:: self.BLOCK][:blocks], table[: self.BLOCK]
        half = state // 2
        for name, tensor in (
            ("sin_coarse", coarse[:, None, :half]),
            ("cos_coarse", coarse[:, None, half:]),
            ("sin_fine", fine[None, :, :half]),
            ("cos_fine", fine[None, :, half:]),
        ):
            self.register_buffer(name, tensor.contiguous())

    def forward(self, count: int) -> Tensor:
        """(count, state): the first positions."""
        sines = self.sin_coarse * self.cos_fine + self.cos_coarse * self.sin_fine
        cosines = self.cos_coarse * self.cos_fine - self.sin_coarse * self.sin_fine
        return torch.cat([sines, cosines], dim=2).flatten(0, 1)[:count]


def compact_positions(encoder: Encoder) -> None:
    """Lets an encoder whose positions are Whisper's sines compute them, in place; others keep their table."""
    dims = encoder.dims
    if encoder.positions is not None and torch.allclose(
        encoder.positions, sinusoids(dims.audio_ctx, dims.state), atol=COMPUTED_ATOL
    ):
        encoder.sines, encoder.positions = Sines(dims.audio_ctx, dims.state), None


class EncodeProgram(nn.Module):
    """PCM of an utterance -> every decoder layer's cross-attention keys and values."""

    def __init__(self, network: Whisper) -> None:
        super().__init__()
        self.frontend, self.encoder = network.frontend, network.encoder
        compact_positions(self.encoder)
        self.cross = cast(Sequence[Attention], nn.ModuleList(layer.cross for layer in network.decoder.layers))

    def forward(self, pcm: Tensor) -> tuple[Tensor, ...]:
        """(1, 320 * s) float32 -> keys (heads, head_dim, s) of each layer, then values (heads, s, head_dim)."""
        audio = self.encoder(self.frontend(pcm))
        pairs = [cross.keys_values(audio) for cross in self.cross]
        return (*(keys for keys, _ in pairs), *(values for _, values in pairs))


class DecodeProgram(DecodeModule):
    """With as many learned positions as the cache has slots."""

    positions: Tensor

    def __init__(self, network: Whisper, alignment_heads: tuple[tuple[int, int], ...], cache: int) -> None:
        super().__init__(network.decoder, alignment_heads, cache)
        self.register_buffer("positions", network.decoder.positions[:cache].detach().clone())

    def placed(self, x: Tensor, positions: Tensor) -> tuple[Tensor, None]:
        return x + torch.index_select(self.positions, 0, positions), None


def encode_arguments(dims: Dims) -> tuple[tuple[Any, ...], Any]:
    """Example arguments and dynamic shapes of `encode`."""
    positions = Dim("positions", min=FEWEST_POSITIONS, max=dims.audio_ctx)
    pcm = torch.randn(1, SAMPLES_PER_POSITION * EXAMPLE_POSITIONS) * 0.1
    return (pcm,), ({1: SAMPLES_PER_POSITION * positions},)
