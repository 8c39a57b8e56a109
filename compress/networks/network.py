"""What every network for speech recognition can do, whatever its family, and its exported programs."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from compress.networks.chunking import Chunking
from compress.networks.dims import Dims
from compress.networks.layers import CtcHead


class SpeechNetwork(nn.Module):
    """PCM to encoder states, encoder states and tokens to logits.

    frontend: PCM (batch, samples) and the size of a chunk (None: whole) to features (batch, frames, width).
    ctc: encoder states to logits of CTC symbols; None: no CTC head.
    """

    dims: Dims
    frontend: nn.Module
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
        raise NotImplementedError

    def forward(self, pcm: Tensor, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (batch, n, vocab) of `tokens` (batch, n) given `pcm` (batch, samples)."""
        states, mask = self.encode(pcm, lengths)
        return self.decode(tokens, states, mask)

    @property
    def embedding(self) -> nn.Embedding:
        """The token embedding, which is also the table of the logits."""
        raise NotImplementedError

    def replace_embedding(self, embedding: nn.Embedding) -> None:
        """Puts another token embedding in place of the network's."""
        raise NotImplementedError

    @property
    def logits_input(self) -> nn.Module:
        """The module whose output is multiplied with the token embedding."""
        raise NotImplementedError


class DecodeModule(nn.Module):
    """The exported method `decode`; `logits` is its layer from states to logits."""

    logits: nn.Linear


class StreamModule(nn.Module):
    """The exported method `stream`: one chunk of audio and the state to the chunk's outputs and the next state."""

    chunking: Chunking

    def state_of(self, outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The state among the outputs of `forward`, in the order in which it takes the state."""
        raise NotImplementedError
