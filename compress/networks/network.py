"""What every network for speech recognition can do, whatever its family, and its exported programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from compress.networks.chunking import Chunking, with_left_context
from compress.networks.decoder import Decoder
from compress.networks.dims import Dims
from compress.networks.layers import CtcHead
from device_asr.bundle.roles import CROSS_KEYS, CROSS_VALUES, CTC, PCM, STATE, nth, tensor


class SpeechNetwork(nn.Module):
    """PCM to encoder states, encoder states and tokens to logits.

    frontend: PCM (batch, samples) and the size of a chunk (None: whole) to features (batch, frames, width).
    ctc: encoder states to logits of CTC symbols; None: no CTC head.
    """

    dims: Dims
    frontend: nn.Module
    decoder: Decoder
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
            states (batch, chunks, block, state), of which the first `size` of a chunk are final, behind each one's
            `state` numbers those of lower layers that the CTC head reads; and the positions of each block,
            (chunks, block) int64, some of which are behind the last.
        """
        raise NotImplementedError

    def symbols(self, states: Tensor, chunking: Chunking) -> Tensor:
        """Logits of CTC symbols (batch, chunks, block, symbols) of what `encode_chunks` gives.

        Raises:
            ValueError: the network has no CTC head.
        """
        if self.ctc is None:
            raise ValueError("wanted a network with a CTC head")
        features = self.ctc.features(states)
        if self.ctc.reach == 0:
            return self.ctc.symbols(features)
        reach = replace(chunking, left_context=self.ctc.reach)
        known = with_left_context(features.permute(0, 3, 1, 2), reach).permute(0, 2, 3, 1)
        return self.ctc.symbols(features, known[:, :, : self.ctc.reach])

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
        return self.decoder.embedding

    def replace_embedding(self, embedding: nn.Embedding) -> None:
        """Puts another token embedding in place of the network's."""
        self.decoder.embedding = embedding

    @property
    def logits_input(self) -> nn.Module:
        """The decoder's last normalization, whose output is multiplied with the token embedding."""
        return self.decoder.norm


class StreamModule(nn.Module):
    """The exported method `stream`: one chunk of audio and the state to the chunk's outputs and the next state."""

    chunking: Chunking

    def state_of(self, outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The state among the outputs of `forward`, in the order in which it takes the state."""
        raise NotImplementedError


def stream_signature(
    dims: Dims,
    chunking: Chunking,
    samples: int,
    delay: int,
    first: Sequence[tuple[str, list[int], str, Any]],
    last: Sequence[tuple[str, list[int], str, Any]] = (),
) -> dict[str, Any]:
    """The method `stream` for the manifest.

    A state is filled with `start` before any audio (a list: one value for each row of its last axis but one) and
    given to the next call as the last call returned it. The last `look_ahead` positions of each output come again
    with the next call; as many before the first are no part of the audio.

    Args:
        samples: of a chunk. delay: samples of silence before the audio. first: name, shape, dtype and start of the
            states before the left contexts of the layers. last: of those behind them.
    """
    size, block, left = chunking.size, chunking.block, chunking.left_context
    encoder, decoder = list(enumerate(dims.encoder)), list(enumerate(dims.decoder))
    states = [
        *first,
        *((f"keys_{i}", [x.heads, dims.head_dim, left], "float32", 0.0) for i, x in encoder),
        *((f"values_{i}", [x.heads, left, dims.head_dim], "float32", 0.0) for i, x in encoder),
        *last,
    ]
    cross = [tensor(f"cross_keys_{i}", nth(CROSS_KEYS, i), [x.cross_heads, dims.head_dim, block]) for i, x in decoder]
    cross += [
        tensor(f"cross_values_{i}", nth(CROSS_VALUES, i), [x.cross_heads, block, dims.head_dim]) for i, x in decoder
    ]
    return {
        "inputs": [
            tensor("pcm", PCM, [1, samples]),
            *(tensor(name, nth(STATE, i), shape, dtype, start) for i, (name, shape, dtype, start) in enumerate(states)),
        ],
        "outputs": [
            tensor("symbols", CTC, [block, dims.ctc]),
            *cross,
            *(tensor(name, nth(STATE, i), shape, dtype) for i, (name, shape, dtype, _) in enumerate(states)),
        ],
        "delay": delay,
        "look_ahead": block - size,
    }


def left_contexts(dims: Dims, chunking: Chunking) -> tuple[list[Tensor], list[Tensor]]:
    """Each encoder layer's keys (heads, head_dim, left_context) and values (heads, left_context, head_dim), empty."""
    left = chunking.left_context
    return (
        [torch.zeros(x.heads, dims.head_dim, left) for x in dims.encoder],
        [torch.zeros(x.heads, left, dims.head_dim) for x in dims.encoder],
    )
