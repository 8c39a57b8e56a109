"""Moonshine's encoder (Jeffries et al. 2024) in plain PyTorch, for whole clips and for chunks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.networks.adapters import Adapted
from compress.networks.chunking import Chunking, attended, left_contexts
from compress.networks.dims import LayerDims
from compress.networks.factored import Factored
from compress.networks.layers import Attention, FeedForward, LayerNorm, remembering
from compress.networks.masks import MASKED, position_count
from compress.networks.moonshine import frontend
from compress.networks.moonshine.dims import MoonshineDims
from compress.networks.moonshine.frontend import HOP, OVERHANG, SAMPLES_PER_POSITION
from compress.networks.moonshine.rotary import turned, turns

# Scores a head up to which training keeps what the backward pass of an encoder layer needs; of more it is computed
# again.
REMEMBERED = 8 * 1250**2
Turns = tuple[Tensor, Tensor]  # cosines and sines, see `rotary.turns`


class RotaryAttention(Attention):
    """Self-attention without biases whose queries and keys are turned by their positions."""

    def __init__(self, dims: MoonshineDims, heads: int) -> None:
        super().__init__(dims.state, heads, dims.head_dim, bias=False)

    def turned_queries(self, x: Tensor, at: Turns) -> Tensor:
        """(batch, n, state) -> scaled and turned queries (batch * heads, n, head_dim)."""
        return turned(self.queries(x), *at)

    @staticmethod
    def turned_keys(keys: Tensor, at: Turns) -> Tensor:
        """Keys (batch * heads, head_dim, n), turned."""
        return turned(keys.transpose(1, 2), *at).transpose(1, 2)

    def placed_keys_values(self, x: Tensor, at: Turns) -> tuple[Tensor, Tensor]:
        keys, values = self.keys_values(x)
        return self.turned_keys(keys, at), values

    def placed(
        self, x: Tensor, keys: Tensor, values: Tensor, at: Turns, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self.attend(self.turned_queries(x, at), keys, values, mask)


class EncoderLayer(nn.Module):
    def __init__(self, dims: MoonshineDims, layer: LayerDims) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(dims.state, bias=False)
        self.attention = RotaryAttention(dims, layer.heads)
        self.ffn_norm = LayerNorm(dims.state, bias=False)
        self.ffn = FeedForward(dims.state, layer.ffn)

    def forward(self, x: Tensor, at: Turns, mask: Tensor | None = None) -> Tensor:
        normed = self.attention_norm(x)
        keys, values = self.attention.keys_values(normed)
        queries = self.attention.turned_queries(normed, at)
        x = x + self.attention.attend(queries, self.attention.turned_keys(keys, at), values, mask)[0]
        return x + self.ffn(self.ffn_norm(x))

    def forward_chunks(self, x: Tensor, at: Turns, mask: Tensor, chunking: Chunking) -> Tensor:
        """`forward` of every chunk's block with its left context.

        The left context of all chunks is one row of keys, each chunk's first `size` positions. A copy of it for every
        chunk takes twice the time of the layer (10 s clips, two threads in bfloat16).

        Args:
            x: (batch, chunks, block, state). at: of the chunks' blocks, (chunks * block, rotary / 2) each.
            mask: (batch, chunks, block), over the positions of a chunk's own block.
        """
        attention, (batch, chunks, block, state) = self.attention, x.shape
        normed = self.attention_norm(x).reshape(batch, chunks * block, state)
        keys, values = attention.keys_values(normed)
        keys = attention.turned_keys(keys, at).transpose(1, 2)
        queries, keys, values = (
            part.reshape(-1, chunks, block, attention.head_dim)
            for part in (attention.turned_queries(normed, at), keys, values)
        )
        past_keys, past_values = (part[:, :, : chunking.size].flatten(1, 2) for part in (keys, values))
        own = torch.matmul(queries, keys.transpose(2, 3)) + mask.repeat_interleave(attention.heads, 0).unsqueeze(2)
        mixed = []
        for first, begin, end, hidden in left_contexts(chunks, chunking, x.device):
            group = slice(first, first + hidden.shape[0])
            past = torch.bmm(queries[:, group].flatten(1, 2), past_keys[:, begin:end].transpose(1, 2))
            past = past.view(-1, hidden.shape[0], block, end - begin) + hidden.unsqueeze(1)
            weights = torch.softmax(torch.cat([past, own[:, group]], dim=3), dim=3)
            before, here = weights[..., : end - begin], weights[..., end - begin :]
            seen = torch.bmm(before.flatten(1, 2), past_values[:, begin:end]).view_as(queries[:, group])
            mixed.append(seen + torch.matmul(here, values[:, group]))
        merged = attention.merge(torch.cat(mixed, dim=1).flatten(1, 2), batch)
        x = x + merged.view(x.shape)
        return x + self.ffn(self.ffn_norm(x))


class Encoder(nn.Module):
    """Hops of 64 samples to hidden states, one every 384 samples."""

    constants: Turns | None  # what `responses` gives; a program keeps it, in training it changes
    bias: Tensor | None  # a program's own copy of the second convolution's

    def __init__(self, dims: MoonshineDims) -> None:
        super().__init__()
        self.dims, self.constants, self.bias = dims, None, None
        self.conv1 = nn.Linear(2 * HOP, dims.conv1, bias=False)
        self.groupnorm = nn.GroupNorm(1, dims.conv1)
        self.conv2 = nn.Linear(7 * dims.conv1, dims.conv2)
        self.conv3 = nn.Linear(3 * dims.conv2, dims.state)
        layers = nn.ModuleList(EncoderLayer(dims, layer) for layer in dims.encoder)
        self.layers = cast(Sequence[EncoderLayer], layers)
        self.norm = LayerNorm(dims.state, bias=False)

    def first(self, hops: Tensor) -> Tensor:
        """The first convolution and tanh: (batch, n + 1, 64) -> (batch, n, conv1).

        In float32 whatever the rest computes in: bfloat16 has 8 bits, too few for samples.
        """
        lowered = torch.is_autocast_enabled(hops.device.type)
        with torch.autocast(hops.device.type, enabled=False) if lowered else nullcontext():
            return torch.tanh(self.conv1(torch.cat([hops[:, :-1], hops[:, 1:]], dim=2)))

    def second(self, first: Tensor) -> Tensor:
        """The second convolution before normalization and without its bias: (batch, 3 n + 4 to 6, conv1) to
        (batch, n, conv2).

        Normalization by one mean and one deviation and a convolution may change places, see `third`. So frames are
        convolved once, when they come, and are normalized by what is known later.
        """
        return self.conv2(frontend.triples(first * self.groupnorm.weight)) - self.conv2_bias

    def responses(self) -> Turns:
        """The second convolution of the normalization's weights without its bias, and of the biases: (conv2,) each."""
        if self.constants is not None:
            return self.constants
        weight, bias = self.groupnorm.weight.repeat(7), self.groupnorm.bias.repeat(7)
        scale, shift = _unwatched(self.conv2, torch.stack([weight, bias]))
        return scale - self.conv2_bias, shift

    def third(self, second: Tensor, mean: Tensor, square: Tensor) -> Tensor:
        """Normalization, GELU and the third convolution with GELU, (batch, n, state).

        Args:
            second: (batch, 2 n + 1 or 2, conv2), see `second`. mean, square: (batch, the same or 1, 1), moments.
        """
        scale, shift = self.responses()
        deviation = torch.rsqrt(square - mean * mean + frontend.EPS)
        normalized = (second - mean * scale) * deviation + shift
        return F.gelu(self.conv3(frontend.pairs(F.gelu(normalized))))

    def keep_constants(self) -> None:
        """Keeps what `third` needs of the second convolution, in place, for a program: 2 rows fewer a call.

        The bias is copied, since XNNPACK ends the process where the bias of a linear layer is subtracted too.
        """
        with torch.no_grad():
            scale, shift = self.responses()
            self.constants = scale.detach().clone(), shift.detach().clone()
            self.bias = self.conv2_bias.detach().clone()

    @property
    def conv2_bias(self) -> Tensor:
        """The bias of the second convolution, which belongs behind the normalization."""
        if self.bias is not None:
            return self.bias
        last: nn.Module = self.conv2
        while not isinstance(last, nn.Linear):
            last = last.linear if isinstance(last, Adapted) else last.get_submodule("up")
        return cast(Tensor, last.bias)

    def forward(self, hops: Tensor, mask: Tensor | None = None, counts: Tensor | None = None) -> Tensor:
        """Args:
            hops: (batch, 6 n, 64) float32.
            mask: added to the scores, (batch, n - 2 or 1, n - 2).
            counts: (batch,) int64, frames of the first convolution in each clip; None: all.

        Returns:
            (batch, n - 2, state).
        """
        first = self.first(hops)
        x = self.third(self.second(first), *frontend.whole_moments(first, counts))
        at = turns(torch.arange(x.shape[1], device=x.device), self.dims.rotary)
        for layer in self.layers:
            x = remembering(REMEMBERED, x.shape[0] * x.shape[1] ** 2, layer, x, at, mask)
        return self.norm(x)

    def forward_chunks(self, hops: Tensor, chunking: Chunking, samples: Tensor) -> Tensor:
        """Hops to hidden states, encoded in chunks.

        Args:
            samples: (batch or 1,) int64, of each clip's audio; positions behind it are not attended to.

        Returns:
            (batch, chunks, block, state): each chunk's own states, then its provisional ones of the look-ahead;
            behind each one's those of the layers that the CTC head reads.
        """
        first = self.first(hops)
        counts = frontend.first_frames(samples).expand(hops.shape[0])
        x = self.third(self.second(first), *frontend.running_moments(first, counts, chunking))
        read = attended(x.shape[1], chunking, x.device)
        block = read[:, chunking.left_context :]
        x = F.pad(x, (0, 0, 0, int(block[-1, -1]) + 1 - x.shape[1]))[:, block]
        behind = block >= positions(samples)[:, None, None]
        mask = (behind.to(x.dtype) * MASKED).expand(x.shape[0], -1, -1)
        at = turns(block.flatten(), self.dims.rotary)
        scores, lower = x.shape[0] * read.numel() * chunking.block, {}
        for i, layer in enumerate(self.layers):
            x = remembering(REMEMBERED, scores, layer.forward_chunks, x, at, mask, chunking)
            lower[i] = x
        return torch.cat([self.norm(x), *(lower[i] for i in self.dims.ctc_layers)], dim=-1)


def _unwatched(layer: nn.Module, x: Tensor) -> Tensor:
    """A linear layer's output without its hooks, which gather the inputs of audio."""
    if isinstance(layer, Factored):
        x, layer = layer.down.forward(x), layer.up
    out: Tensor = layer.forward(x)
    return out


def positions(samples: Tensor) -> Tensor:
    """Positions of recordings of so many samples, int64: those that read audio alone."""
    return position_count(samples - OVERHANG, SAMPLES_PER_POSITION).clamp(min=0)
