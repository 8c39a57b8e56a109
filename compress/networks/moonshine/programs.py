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

from compress.networks.dims import Dims
from compress.networks.embedding import lookup
from compress.networks.layers import Attention
from compress.networks.masks import MASKED
from compress.networks.moonshine.frontend import HOP, SAMPLES_PER_POSITION
from compress.networks.moonshine.network import Moonshine
from compress.networks.moonshine.rotary import frequencies
from compress.networks.network import EXAMPLE_POSITIONS, FEWEST_POSITIONS, DecodeModule

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
    """Tokens and caches -> logits, the tokens' own keys and values, and the alignment heads' attention.

    The caller owns the caches and writes the returned keys and values at `position`. The tied embedding is an input:
    the runtime maps it from the program file, where it lies once, as the weights of the logits' linear layer.
    """

    slots: Tensor
    frequencies: Tensor

    def __init__(self, network: Moonshine, alignment_heads: tuple[tuple[int, int], ...], cache: int) -> None:
        super().__init__()
        decoder = network.decoder
        self.layers, self.norm = decoder.layers, decoder.norm
        self.logits = nn.Linear(decoder.embedding.embedding_dim, decoder.embedding.num_embeddings, bias=False)
        self.logits.weight = nn.Parameter(decoder.embedding.weight.detach(), requires_grad=False)
        self.register_buffer("slots", torch.arange(cache))
        self.register_buffer("frequencies", frequencies(decoder.dims.rotary))
        self.alignment = [[head for layer, head in alignment_heads if layer == i] for i in range(len(self.layers))]

    def forward(
        self,
        tokens: Tensor,
        position: Tensor,
        table: list[Tensor],
        self_keys: list[Tensor],
        self_values: list[Tensor],
        cross_keys: list[Tensor],
        cross_values: list[Tensor],
    ) -> tuple[Tensor, ...]:
        """Args:
            tokens: (n,) int64. position: (1,) int64, index of the first of them; any number.
            table: the tied embedding, see `embedding.stored_form`.
            self_keys, self_values: a layer's cache, (heads, head_dim, cache) and (heads, cache, head_dim), of keys
                that are turned; slots from `position` on are not looked at.
            cross_keys, cross_values: from `encode`.

        Returns:
            logits (n, vocab); alignment (alignment heads, n, s), none where there are no such heads; each layer's
            new keys (heads, head_dim, n); each layer's new values (heads, n, head_dim).
        """
        count = tokens.shape[0]
        x = lookup(tokens, table).unsqueeze(0)
        order = torch.arange(count)
        angles = (position + order).to(torch.float32).unsqueeze(1) * self.frequencies
        at = torch.cos(angles), torch.sin(angles)
        past = (self.slots >= position).to(torch.float32) * MASKED
        future = (order.unsqueeze(0) > order.unsqueeze(1)).to(torch.float32) * MASKED
        mask = torch.cat([past.unsqueeze(0).expand(count, -1), future], dim=1).unsqueeze(0)
        new_keys, new_values, aligned = [], [], []
        for i, layer in enumerate(self.layers):
            normed = layer.attention_norm(x)
            keys, values = layer.attention.keys_values(normed)
            keys = layer.attention.turned_keys(keys, at)
            new_keys.append(keys)
            new_values.append(values)
            mixed, _ = layer.attention.attend(
                layer.attention.turned_queries(normed, at),
                torch.cat([self_keys[i], keys], 2),
                torch.cat([self_values[i], values], 1),
                mask,
            )
            x, weights = layer.finish(x + mixed, cross_keys[i], cross_values[i], None)
            aligned += [weights[head : head + 1] for head in self.alignment[i]]
        logits = self.logits(self.norm(x)).squeeze(0)
        return (logits, *([torch.cat(aligned, 0)] if aligned else []), *new_keys, *new_values)


def encode_arguments(dims: Dims) -> tuple[tuple[Any, ...], Any]:
    """Example arguments and dynamic shapes of `encode`."""
    positions = Dim("positions", min=FEWEST_POSITIONS, max=dims.audio_ctx)
    pcm = torch.randn(1, SAMPLES_PER_POSITION * EXAMPLE_POSITIONS) * 0.1
    return (pcm,), ({1: SAMPLES_PER_POSITION * positions},)
