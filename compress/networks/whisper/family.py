"""Whisper as a family: its implementation of `compress.networks.family.Family`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from compress.networks import label
from compress.networks.axes import Axis, take, take_layers, taken
from compress.networks.chunking import Chunking
from compress.networks.decoder import caches, decode_arguments
from compress.networks.dims import Dims
from compress.networks.family import Arguments, Converted, Foreign, Part, Side
from compress.networks.label import Label
from compress.networks.network import SpeechNetwork
from compress.networks.whisper import axes, bpe, convert, names, programs, stream
from compress.networks.whisper.dims import WhisperDims, whisper_dims
from compress.networks.whisper.frontend import HOP, SAMPLES_PER_POSITION
from compress.networks.whisper.network import Whisper, sinusoids
from compress.networks.whisper.tokens import SPECIAL_TOKENS, keep_tokens, special_ids, whisper_vocabulary
from device_asr.audio.format import SAMPLE_RATE
from device_asr.bundle.vocabulary import Vocabulary

FOURIER_FLOATS, MEL_FLOATS = 400 * 402, 201  # the DFT matrix; a mel filter


class WhisperFamily:
    """Whisper: log-mel frontend, sinusoidal encoder positions, learned decoder positions, GPT-2's tokens."""

    name = "whisper"
    samples_per_position = SAMPLES_PER_POSITION
    overhang = 0  # the spectrogram and the convolutions see zeros behind the audio
    spectrogram = True
    context_samples = 30 * SAMPLE_RATE  # the length that Whisper was trained on
    padded_context = True
    license: ClassVar = {"license": "MIT", "from": "OpenAI Whisper tiny.en"}
    habits: ClassVar[dict[str, Any]] = {}
    embedding = "decoder.embedding"
    streams = axes.STREAMS
    merges_characters = False
    special_tokens = len(SPECIAL_TOKENS)

    def dims(self, values: dict[str, Any]) -> WhisperDims:
        return WhisperDims.from_json(values)

    def network(self, dims: Dims) -> Whisper:
        return Whisper(whisper_dims(dims))

    def computed(self, dims: Dims) -> dict[str, Tensor]:
        return {"encoder.positions": sinusoids(dims.audio_ctx, dims.state)}

    def program_floats(self, dims: Dims) -> int:
        sines = dims.state * (math.ceil(dims.audio_ctx / programs.Sines.BLOCK) + programs.Sines.BLOCK)
        return FOURIER_FLOATS + MEL_FLOATS * whisper_dims(dims).n_mels + sines

    def axes(self, dims: Dims) -> dict[str, tuple[Axis | None, ...]]:
        return axes.axes(dims)

    def axis(self, side: Side, layer: int, part: Part) -> str:
        return f"{side}.layers.{layer}.{part}"

    def take(self, tensors: Mapping[str, Tensor], dims: Dims, kept: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
        return take(tensors, axes.axes(dims), kept)

    def taken(self, dims: Dims, kept: Mapping[str, Sequence[int]]) -> Dims:
        return taken(dims, kept)

    def take_layers(self, tensors: Mapping[str, Tensor], side: Side, kept: Sequence[int]) -> dict[str, Tensor]:
        return take_layers(tensors, side, kept)

    def layer_of(self, tensor: str) -> tuple[str, int] | None:
        side, layers, *rest = tensor.split(".")
        return (side, int(rest[0])) if side in ("encoder", "decoder") and layers == "layers" else None

    def audio_inputs(self, layer: str) -> tuple[int, int] | None:
        audio = layer.startswith("encoder.") or ".cross.key" in layer or ".cross.value" in layer
        step = HOP if layer == "encoder.conv1" else SAMPLES_PER_POSITION
        return (step, self.overhang) if audio else None

    def adapter_targets(self, dims: Dims) -> dict[str, str]:
        return names.adapter_targets(len(dims.encoder))

    def token_encoder(self, vocabulary: Vocabulary) -> Callable[[str], list[int]]:
        return bpe.token_encoder(vocabulary)

    def vocabulary(
        self,
        tokens: tuple[bytes, ...],
        special: Mapping[str, int],
        suppress: tuple[int, ...],
        suppress_first: tuple[int, ...],
    ) -> Vocabulary:
        return whisper_vocabulary(tokens, special, suppress, suppress_first)

    def special_ids(self, vocabulary: Vocabulary) -> dict[str, int]:
        return special_ids(vocabulary)

    def keep_tokens(self, vocabulary: Vocabulary, kept: Sequence[int]) -> tuple[Vocabulary, list[int]]:
        return keep_tokens(vocabulary, kept)

    def greedy(
        self, network: SpeechNetwork, vocabulary: Vocabulary, states: Tensor, mask: Tensor | None
    ) -> list[Label]:
        return label.greedy(network, vocabulary, states, mask, [label.LONGEST] * len(states))

    def forced(self, network: SpeechNetwork, vocabulary: Vocabulary, states: Tensor, text: list[int]) -> Label:
        return label.forced(network, vocabulary, states, text)

    def encode_program(self, network: SpeechNetwork) -> nn.Module:
        return programs.EncodeProgram(_whisper(network))

    def encode_arguments(self, dims: Dims) -> Arguments:
        return programs.encode_arguments(dims)

    def decode_program(
        self, network: SpeechNetwork, alignment_heads: tuple[tuple[int, int], ...], cache: int
    ) -> programs.DecodeProgram:
        return programs.DecodeProgram(_whisper(network), alignment_heads, cache)

    def decode_arguments(self, dims: Dims, table: list[Tensor], cache: int, tokens_per_call: int) -> Arguments:
        return decode_arguments(dims, table, cache, tokens_per_call)

    def caches(self, dims: Dims, cache: int) -> tuple[list[Tensor], list[Tensor]]:
        return caches(dims, cache)

    def stream_program(self, network: SpeechNetwork, chunking: Chunking) -> stream.StreamProgram:
        return stream.StreamProgram(_whisper(network), chunking)

    def stream_arguments(self, dims: Dims, chunking: Chunking) -> tuple[Any, ...]:
        return stream.example(whisper_dims(dims), chunking)

    def stream_signature(self, dims: Dims, chunking: Chunking) -> dict[str, Any]:
        return stream.signature(whisper_dims(dims), chunking)

    def convert(self, foreign: Foreign) -> Converted:
        return convert.convert(foreign)


def _whisper(network: SpeechNetwork) -> Whisper:
    """The network as Whisper's own class; raises TypeError where it is of another family."""
    if not isinstance(network, Whisper):
        raise TypeError(f"wanted a Whisper network, found {type(network).__name__}")
    return network


FAMILY = WhisperFamily()
