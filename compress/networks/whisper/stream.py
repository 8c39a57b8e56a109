"""The streaming encoder as a program: a chunk of audio and the state go in, the chunk's frames and the state come out.

What it computes is the chunk-masked network (`Whisper.encode` with a `Chunking`) over 20 ms of silence and
then the audio, chunk by chunk. Position i needs audio up to 12.5 ms after its end (half a window of the
spectrogram, one frame of the first convolution); the silence before makes room for that, so that every
chunk's audio brings as many positions.

Where a chunk has a look-ahead, a call computes a block: the oldest chunk that has not had its look-ahead yet, which
becomes final, and the chunks after it provisionally. The next call computes those again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from compress.networks.chunking import Chunking
from compress.networks.layers import Attention
from compress.networks.masks import MASKED
from compress.networks.network import StreamModule, left_contexts, stream_signature
from compress.networks.whisper.dims import WhisperDims
from compress.networks.whisper.frontend import DYNAMIC_RANGE, HOP, N_FFT, SAMPLES_PER_POSITION, START_LOUDEST, framed
from compress.networks.whisper.network import Whisper, frequencies

DELAY = SAMPLES_PER_POSITION  # samples of silence before the audio
TAIL = DELAY + N_FFT // 2 - HOP  # earlier samples that the first frame of a chunk still needs


class StreamProgram(StreamModule):
    """One chunk through the encoder, static shapes, batch 1."""

    order: Tensor
    seen: Tensor
    scales: Tensor

    def __init__(self, network: Whisper, chunking: Chunking) -> None:
        super().__init__()
        if network.ctc is None:
            raise ValueError("wanted a network with a CTC head")
        self.frontend, self.encoder, self.ctc = network.frontend, network.chunk_encoder(), network.ctc
        self.cross = cast(Sequence[Attention], nn.ModuleList(layer.cross for layer in network.decoder.layers))
        self.chunking, self.dims = chunking, network.dims
        self.register_buffer("order", torch.arange(chunking.block), persistent=False)
        self.register_buffer("seen", torch.arange(-chunking.left_context, chunking.block), persistent=False)
        self.register_buffer("scales", frequencies(network.dims.state), persistent=False)

    def forward(
        self,
        pcm: Tensor,
        position: Tensor,
        tail: Tensor,
        loudest: Tensor,
        mel: Tensor,
        frame: Tensor,
        waiting: list[Tensor],
        keys: list[Tensor],
        values: list[Tensor],
    ) -> tuple[Tensor, ...]:
        """Args:
            pcm: (1, 320 * size) float32. position: (1,) int64, of the block's first one, counted from 0; below 0
                before there is a whole look-ahead: those positions are no part of the audio.
            tail: (1, TAIL), the audio before. loudest: (1, 1, 1), log10 mel power so far.
            mel: (1, 2, n_mels), the last frames. frame: (1, 1, state), the last of the first convolution.
            waiting: (1, size * look_ahead, state) of the second one, of the chunks that are computed again;
                none without a look-ahead.
            keys, values: each encoder layer's left context, (heads, head_dim, left_context) and
                (heads, left_context, head_dim).

        Returns:
            CTC logits (block, symbols); each decoder layer's cross-attention keys (heads, head_dim, block),
            then values (heads, block, head_dim): of each the first `size` are final; then the state as it was
            given, moved on by a chunk.
        """
        size, left = self.chunking.size, self.chunking.left_context
        audio = torch.cat([tail, pcm], dim=1)
        hops = audio[:, : (2 * size + 2) * HOP].reshape(1, 2 * size + 2, HOP)
        power = self.frontend.frames_power(framed(hops))
        loudest = torch.maximum(loudest, power.amax(dim=(1, 2), keepdim=True))
        features = torch.cat([mel, (torch.maximum(power, loudest - DYNAMIC_RANGE) + 4.0) * 0.25], dim=1)
        first = nn.functional.gelu(
            self.encoder.conv1(torch.cat([features[:, :-2], features[:, 1:-1], features[:, 2:]], dim=2))
        )
        width = first.shape[2]
        pairs = first.reshape(1, size, 2 * width)
        before = torch.cat([frame, pairs[:, :-1, width:]], dim=1)
        block = torch.cat([*waiting, nn.functional.gelu(self.encoder.conv2(torch.cat([before, pairs], dim=2)))], dim=1)
        x = block + self._positions(position)
        mask = ((position + self.seen < 0).to(torch.float32) * MASKED).unsqueeze(0)
        new_keys, new_values = [], []
        for i, layer in enumerate(self.encoder.layers):
            normed = layer.attention_norm(x)
            own_keys, own_values = layer.attention.keys_values(normed)
            all_keys = torch.cat([keys[i], own_keys], 2)
            all_values = torch.cat([values[i], own_values], 1)
            new_keys.append(all_keys[:, :, size : size + left])
            new_values.append(all_values[:, size : size + left])
            x = x + layer.attention(normed, all_keys, all_values, mask)[0]
            x = x + layer.ffn(layer.ffn_norm(x))
        states = self.encoder.norm(x)
        cross = [attention.keys_values(states) for attention in self.cross]
        return (
            self.ctc(states).squeeze(0),
            *(k for k, _ in cross),
            *(v for _, v in cross),
            position + size,
            audio[:, -TAIL:],
            loudest,
            features[:, -2:],
            first[:, -1:],
            *([block[:, size:]] if waiting else []),
            *new_keys,
            *new_values,
        )

    def state_of(self, outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The state among the outputs of `forward`, as it takes it."""
        layers, waits = len(self.dims.encoder), int(self.chunking.look_ahead > 0)
        flat = outputs[-2 * layers - 5 - waits :]
        rest = flat[5 + waits :]
        return (*flat[:5], list(flat[5 : 5 + waits]), list(rest[:layers]), list(rest[layers:]))

    def _positions(self, position: Tensor) -> Tensor:
        """Sines of this block's positions, which begin again after the last that the network knows."""
        at = torch.remainder(position + self.order, self.dims.audio_ctx).to(torch.float32)
        angles = at.unsqueeze(1) * self.scales
        return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)


def example(dims: WhisperDims, chunking: Chunking) -> tuple[Any, ...]:
    """The arguments of `StreamProgram.forward` before any audio; its first chunk is noise."""
    silence = torch.full((1, 1, dims.n_mels), (START_LOUDEST - DYNAMIC_RANGE + 4.0) * 0.25)
    look_ahead = chunking.block - chunking.size  # positions
    return (
        torch.randn(1, SAMPLES_PER_POSITION * chunking.size) * 0.1,
        torch.tensor([-look_ahead]),
        torch.zeros(1, TAIL),
        torch.full((1, 1, 1), START_LOUDEST),
        torch.cat([torch.zeros(1, 1, dims.n_mels), silence], dim=1),
        torch.zeros(1, 1, dims.state),
        [torch.zeros(1, look_ahead, dims.state)] if look_ahead else [],
        *left_contexts(dims, chunking),
    )


def signature(dims: WhisperDims, chunking: Chunking) -> dict[str, Any]:
    """The method for the manifest; see `stream_signature`."""
    size, block = chunking.size, chunking.block
    mel = example(dims, chunking)[4]
    states: list[tuple[str, list[int], str, Any]] = [
        ("position", [1], "int64", size - block),
        ("tail", [1, TAIL], "float32", 0.0),
        ("loudest", [1, 1, 1], "float32", START_LOUDEST),
        ("mel", list(mel.shape), "float32", mel[0, :, 0].tolist()),
        ("frame", [1, 1, dims.state], "float32", 0.0),
        *([("waiting", [1, block - size, dims.state], "float32", 0.0)] if chunking.look_ahead else []),
    ]
    return stream_signature(dims, chunking, SAMPLES_PER_POSITION * size, DELAY, states)
