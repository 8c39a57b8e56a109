"""What every network for speech recognition can do, whatever its family, and its exported programs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from compress.networks.chunking import Chunking
from compress.networks.dims import Dims
from compress.networks.layers import CtcHead

EXAMPLE_POSITIONS = 250
EXAMPLE_TOKENS = 3
MOST_POSITIONS = 1500  # of an utterance's cross-attention
FEWEST_POSITIONS = 2  # a dimension of 1 would be taken for one that never varies


class SpeechNetwork(nn.Module):
    """PCM to encoder states, encoder states and tokens to logits.

    frontend: PCM (batch, samples) and the size of a chunk (None: whole) to features (batch, frames, width).
    decoder: tokens, encoder states and their mask to logits first; it has the token `embedding` and the last `norm`.
    ctc: encoder states to logits of CTC symbols; None: no CTC head.
    """

    dims: Dims
    frontend: nn.Module
    decoder: Any
    ctc: CtcHead | None

    def encode(
        self, pcm: Tensor, lengths: Tensor | None = None, chunking: Chunking | None = None, start: int = 0
    ) -> tuple[Tensor, Tensor | None]:
        """Encoder states of padded clips.

        Args:
            pcm: (batch, samples) float32, samples a multiple of the family's `samples_per_position`.
            lengths: (batch,) true samples; None: all. Padding is hidden from attention.
            chunking: encodes in chunks; None: each clip at once.
            start: the number of the first position.

        Returns:
            states (batch, positions, state), and the mask (batch, positions) of 0 and MASKED, None without lengths.
        """
        raise NotImplementedError

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
        raise NotImplementedError

    def decode(self, tokens: Tensor, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits (batch, n, vocab) of `tokens` (batch, n) int64, given encoder states and their mask."""
        logits: Tensor = self.decoder(tokens, states, mask)[0]
        return logits

    def forward(self, pcm: Tensor, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (batch, n, vocab) of `tokens` (batch, n) given `pcm` (batch, samples)."""
        states, mask = self.encode(pcm, lengths)
        return self.decode(tokens, states, mask)

    @property
    def embedding(self) -> nn.Embedding:
        """The token embedding, which is also the table of the logits."""
        embedding: nn.Embedding = self.decoder.embedding
        return embedding

    def replace_embedding(self, embedding: nn.Embedding) -> None:
        """Puts another token embedding in place of the network's."""
        self.decoder.embedding = embedding

    @property
    def logits_input(self) -> nn.Module:
        """The decoder's last normalization, whose output is multiplied with the token embedding."""
        norm: nn.Module = self.decoder.norm
        return norm


class DecodeModule(nn.Module):
    """The exported method `decode`; `logits` is its layer from states to logits."""

    logits: nn.Linear


class StreamModule(nn.Module):
    """The exported method `stream`: one chunk of audio and the state to the chunk's outputs and the next state."""

    chunking: Chunking

    def state_of(self, outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The state among the outputs of `forward`, in the order in which it takes the state."""
        raise NotImplementedError


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
