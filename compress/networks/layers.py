"""Layers that networks share, written so that one code is trained and exported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from compress.networks.chunking import Chunking, with_left_context

CTC_WIDTH = 256  # hidden features of the CTC head


def conv_to_linear(weight: Tensor) -> Tensor:
    """(out, in, 3) of a convolution to (out, 3 * in) over (previous, this, next) frames."""
    return weight.permute(0, 2, 1).reshape(weight.shape[0], -1).contiguous()


class LayerNorm(nn.LayerNorm):
    """Layer normalization; `decomposed` writes it with operations that XNNPACK delegates."""

    decomposed = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.decomposed:
            return super().forward(x)
        wide = x.unsqueeze(-2)  # XNNPACK's mean takes the last two axes of four
        centered = wide - wide.mean(dim=(-2, -1), keepdim=True)
        variance = (centered * centered).mean(dim=(-2, -1), keepdim=True)
        scaled = (centered * torch.rsqrt(variance + self.eps)).squeeze(-2) * self.weight
        return scaled if self.bias is None else scaled + self.bias


class Attention(nn.Module):
    """Multi-head attention; keys and values are computed apart, so that they can be cached.

    Heads are folded into the batch: scores are (batch * heads, queries, keys).
    """

    def __init__(self, state: int, heads: int, head_dim: int, bias: bool = True) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        inner = heads * head_dim
        self.query = nn.Linear(state, inner, bias=bias)
        self.key = nn.Linear(state, inner, bias=False)
        self.value = nn.Linear(state, inner, bias=bias)
        self.out = nn.Linear(inner, state, bias=bias)

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

    def with_left_context(self, parts: Tensor, batch: int, chunking: Chunking) -> Tensor:
        """(batch * chunks * heads, block, head_dim) -> (batch * chunks * heads, left_context + block, head_dim)."""
        by_chunk = parts.view(batch, -1, self.heads, chunking.block, self.head_dim).permute(0, 2, 4, 1, 3)
        return with_left_context(by_chunk, chunking).permute(0, 3, 1, 4, 2).reshape(parts.shape[0], -1, self.head_dim)

    def placed_keys_values(self, x: Tensor, at: Any) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - see `placed`
        """`keys_values` of positions, see `Decoder.placed`."""
        return self.keys_values(x)

    def placed(
        self,
        x: Tensor,
        keys: Tensor,
        values: Tensor,
        at: Any,  # noqa: ARG002 - for attention that knows positions
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """`forward` of positions, see `Decoder.placed`."""
        return self(x, keys, values, mask)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Attended values (batch, n, state) and weights (batch * heads, n, keys).

        `mask` is added to the scores: (n, keys), or (batch, n or 1, keys).
        """
        return self.attend(self.queries(x), keys, values, mask)

    def attend(
        self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`forward` of scaled queries (batch * heads, n, head_dim)."""
        scores = torch.bmm(queries, keys)
        if mask is not None:
            scores = scores + (mask if mask.dim() == 2 else mask.repeat_interleave(self.heads, 0))
        weights = torch.softmax(scores, dim=-1)
        return self.merge(torch.bmm(weights, values), queries.shape[0] // self.heads), weights


class FeedForward(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, state: int, ffn: int) -> None:
        super().__init__()
        self.up = nn.Linear(state, ffn)
        self.down = nn.Linear(ffn, state)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


class GatedFeedForward(nn.Module):
    """SwiGLU (Shazeer 2020): one linear layer makes values and, behind them, their gates; SiLU; linear."""

    def __init__(self, state: int, ffn: int) -> None:
        super().__init__()
        self.ffn = ffn
        self.up = nn.Linear(state, 2 * ffn)
        self.down = nn.Linear(ffn, state)

    def forward(self, x: Tensor) -> Tensor:
        both = self.up(x)
        return self.down(F.silu(both[..., self.ffn :]) * both[..., : self.ffn])


class CtcHead(nn.Module):
    """Encoder states to logits of symbols: linear, GELU, a convolution where it has a reach, linear.

    Letters lie in lower layers too, and beside the position: trained on the same 2 h of speech, 71 % of the words of
    librispeech-other-dev were wrong with the last states alone, 69 % with two layers more, and 60 % with these and a
    reach of 4 positions.

    Args:
        state: width of the states. layers: lower layers whose states come behind the last ones.
        reach: positions on each side that the convolution reads.
    """

    def __init__(self, state: int, symbols: int, layers: int = 0, reach: int = 0) -> None:
        super().__init__()
        self.state, self.reach = state, reach
        self.norms = nn.ModuleList(LayerNorm(state, bias=False) for _ in range(layers))
        self.hidden = nn.Linear(state * (1 + layers), CTC_WIDTH)
        self.around = nn.Linear(CTC_WIDTH * (2 * reach + 1), CTC_WIDTH) if reach else None
        self.out = nn.Linear(CTC_WIDTH, symbols)

    def silence(self) -> None:
        """Gives every symbol the same logit until the head is trained, in place."""
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def features(self, states: Tensor) -> Tensor:
        """(..., n, state * (1 + layers)) -> (..., n, CTC_WIDTH)."""
        if len(self.norms):
            last, *lower = states.split(self.state, dim=-1)
            normed = [norm(part) for norm, part in zip(self.norms, lower, strict=True)]
            states = torch.cat([last, *normed], dim=-1)
        return F.gelu(self.hidden(states))

    def symbols(self, features: Tensor, before: Tensor | None = None) -> Tensor:
        """Logits (..., n, symbols) of features.

        Args:
            before: (..., reach, CTC_WIDTH) of the positions before the first; None: there are none.
        """
        if self.around is not None:
            nothing = torch.zeros_like(features[..., : self.reach, :])
            parts = torch.cat([nothing if before is None else before, features, nothing], dim=-2)
            count = features.shape[-2]
            windows = torch.cat([parts[..., k : k + count, :] for k in range(2 * self.reach + 1)], dim=-1)
            features = features + F.gelu(self.around(windows))
        logits: Tensor = self.out(features)
        return logits

    def forward(self, states: Tensor) -> Tensor:
        return self.symbols(self.features(states))


def remembering(most: int, scores: int, layer: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """The output of a layer that computes `scores` scores a head.

    In training it keeps what the backward pass needs, up to `most` scores; of more that is computed again.
    """
    if torch.is_grad_enabled() and scores > most:
        return checkpoint(layer, *arguments, use_reentrant=False)
    return layer(*arguments)
