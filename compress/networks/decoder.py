"""What every decoder can do, whatever its family, and its exported program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional as F

from compress.networks.dims import Dims
from compress.networks.embedding import lookup
from compress.networks.layers import Attention
from compress.networks.masks import MASKED, causal

EXAMPLE_POSITIONS = 250
EXAMPLE_TOKENS = 3
MOST_POSITIONS = 1500  # of an utterance's cross-attention
FEWEST_POSITIONS = 2  # a dimension of 1 would be taken for one that never varies


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention and feed-forward, each behind a normalization and added to what came in."""

    attention_norm: nn.Module
    attention: Attention
    cross_norm: nn.Module
    cross: Attention
    ffn_norm: nn.Module
    ffn: nn.Module

    def finish(
        self, x: Tensor, cross_keys: Tensor, cross_values: Tensor, cross_mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Cross-attention and feed-forward after self-attention; also the cross-attention weights."""
        mixed, weights = self.cross(self.cross_norm(x), cross_keys, cross_values, cross_mask)
        x = x + mixed
        return x + self.ffn(self.ffn_norm(x)), weights


class Decoder(nn.Module):
    """Token ids and encoder states to logits; the output projection is the token embedding."""

    embedding: nn.Embedding
    layers: Sequence[DecoderLayer]
    norm: nn.Module

    def placed(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Any]:
        """Embeddings (..., n, state) of tokens at positions (n,) int64, and what attention is to know of positions."""
        raise NotImplementedError

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
        own_mask = causal(length, length, tokens.device)
        mask = None if cross_mask is None else cross_mask[:, None]
        x, at = self.placed(self.embedding(tokens), torch.arange(length, device=tokens.device))
        weights_of = []
        for layer in self.layers:
            normed = layer.attention_norm(x)
            keys, values = layer.attention.placed_keys_values(normed, at)
            x = x + layer.attention.placed(normed, keys, values, at, own_mask)[0]
            x, weights = layer.finish(x, *layer.cross.keys_values(audio), mask)
            weights_of.append(weights)
        return F.linear(self.norm(x), self.embedding.weight), weights_of

    def steps(self, audio: Tensor, cross_mask: Tensor | None) -> Callable[[Tensor, int], Tensor]:
        """A function of the next tokens and the first one's position, to the logits after the last; it caches.

        Args:
            audio, cross_mask: see `forward`.
        """
        cross = [layer.cross.keys_values(audio) for layer in self.layers]
        mask = None if cross_mask is None else cross_mask[:, None]
        cache: list[tuple[Tensor, Tensor] | None] = [None] * len(cross)

        def step(tokens: Tensor, position: int) -> Tensor:
            known = position + tokens.shape[1]
            own_mask = causal(tokens.shape[1], known, audio.device)
            x, at = self.placed(self.embedding(tokens), torch.arange(position, known, device=audio.device))
            for i, layer in enumerate(self.layers):
                normed = layer.attention_norm(x)
                keys, values = layer.attention.placed_keys_values(normed, at)
                if (earlier := cache[i]) is not None:
                    keys, values = torch.cat([earlier[0], keys], 2), torch.cat([earlier[1], values], 1)
                cache[i] = (keys, values)
                mixed, _ = layer.attention.placed(normed, keys, values, at, own_mask)
                x, _ = layer.finish(x + mixed, *cross[i], mask)
            return F.linear(self.norm(x[:, -1]), self.embedding.weight)

        return step


class DecodeModule(nn.Module):
    """The exported method `decode`: tokens and caches to logits, the tokens' own keys and values, and the alignment
    heads' attention.

    The caller owns the caches and writes the returned keys and values at `position`: returning only what is new saves
    copying 2.7 MB of cache per token. The tied embedding is an input: the runtime maps it from the program file, where
    it lies once, as the weights of `logits`, the layer from states to logits.
    """

    slots: Tensor

    def __init__(self, decoder: Decoder, alignment_heads: tuple[tuple[int, int], ...], cache: int) -> None:
        super().__init__()
        self.layers, self.norm = decoder.layers, decoder.norm
        self.logits = nn.Linear(decoder.embedding.embedding_dim, decoder.embedding.num_embeddings, bias=False)
        self.logits.weight = nn.Parameter(decoder.embedding.weight.detach(), requires_grad=False)
        self.register_buffer("slots", torch.arange(cache))
        self.alignment = [[head for layer, head in alignment_heads if layer == i] for i in range(len(self.layers))]

    def placed(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Any]:
        """See `Decoder.placed`."""
        raise NotImplementedError

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
            tokens: (n,) int64. position: (1,) int64, index of the first of them.
            table: the tied embedding, see `embedding.stored_form`.
            self_keys, self_values: a layer's cache, (heads, head_dim, cache) and (heads, cache, head_dim);
                slots from `position` on are not looked at.
            cross_keys, cross_values: from `encode`.

        Returns:
            logits (n, vocab); alignment (alignment heads, n, s), none where there are no such heads; each layer's
            new keys (heads, head_dim, n); each layer's new values (heads, n, head_dim).
        """
        count = tokens.shape[0]
        order = torch.arange(count)
        x, at = self.placed(lookup(tokens, table), position + order)
        x = x.unsqueeze(0)
        past = (self.slots >= position).to(torch.float32) * MASKED
        future = (order.unsqueeze(0) > order.unsqueeze(1)).to(torch.float32) * MASKED
        mask = torch.cat([past.unsqueeze(0).expand(count, -1), future], dim=1).unsqueeze(0)
        new_keys, new_values, aligned = [], [], []
        for i, layer in enumerate(self.layers):
            normed = layer.attention_norm(x)
            keys, values = layer.attention.placed_keys_values(normed, at)
            new_keys.append(keys)
            new_values.append(values)
            mixed, _ = layer.attention.placed(
                normed, torch.cat([self_keys[i], keys], 2), torch.cat([self_values[i], values], 1), at, mask
            )
            x, weights = layer.finish(x + mixed, cross_keys[i], cross_values[i], None)
            aligned += [weights[head : head + 1] for head in self.alignment[i]]
        logits = self.logits(self.norm(x)).squeeze(0)
        return (logits, *([torch.cat(aligned, 0)] if aligned else []), *new_keys, *new_values)


def caches(dims: Dims, cache: int) -> tuple[list[Tensor], list[Tensor]]:
    """Empty caches of every decoder layer: keys (heads, head_dim, cache), then values (heads, cache, head_dim)."""
    return (
        [torch.zeros(x.heads, dims.head_dim, cache) for x in dims.decoder],
        [torch.zeros(x.heads, cache, dims.head_dim) for x in dims.decoder],
    )


def decode_arguments(dims: Dims, table: list[Tensor], cache: int, tokens_per_call: int) -> tuple[tuple[Any, ...], Any]:
    """Example arguments and dynamic shapes of `decode`."""
    layers = len(dims.decoder)
    # contiguous on purpose: an example with other strides is baked into the program's input layout
    cross_keys = [torch.randn(x.cross_heads, dims.head_dim, EXAMPLE_POSITIONS) for x in dims.decoder]
    cross_values = [torch.randn(x.cross_heads, EXAMPLE_POSITIONS, dims.head_dim) for x in dims.decoder]
    # copies: an example that shares storage with the logits' weights would be traced as those weights
    copies = [tensor.clone() for tensor in table]
    example = (
        torch.arange(EXAMPLE_TOKENS),
        torch.tensor([0]),
        copies,
        *caches(dims, cache),
        cross_keys,
        cross_values,
    )
    positions = Dim("positions", min=FEWEST_POSITIONS, max=MOST_POSITIONS)
    count = Dim("tokens", min=1, max=tokens_per_call)
    return example, (
        {0: count},
        None,
        [None] * len(table),
        [None] * layers,
        [None] * layers,
        [{2: positions}] * layers,
        [{1: positions}] * layers,
    )
