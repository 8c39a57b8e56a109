"""Moonshine as a family: its implementation of `compress.networks.family.Family`."""

from __future__ import annotations

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
from compress.networks.moonshine import axes, convert, limits, names, programs, stream
from compress.networks.moonshine.dims import MoonshineDims, moonshine_dims
from compress.networks.moonshine.frontend import FIRST_WIDTH, HOP, OVERHANG, SAMPLES_PER_POSITION
from compress.networks.moonshine.network import Moonshine
from compress.networks.moonshine.tokens import SPECIAL, keep_tokens, moonshine_vocabulary, special_ids, token_encoder
from compress.networks.network import SpeechNetwork
from device_asr.audio.format import SAMPLE_RATE
from device_asr.bundle.vocabulary import Vocabulary

CONVOLVED = {"encoder.conv1": (HOP, FIRST_WIDTH - 1), "encoder.conv2": (3 * HOP, 6 * HOP + FIRST_WIDTH - 1)}


class MoonshineFamily:
    """Moonshine: convolutions over samples, rotary positions, SwiGLU in the decoder, SentencePiece's tokens."""

    name = "moonshine"
    samples_per_position = SAMPLES_PER_POSITION
    overhang = OVERHANG
    spectrogram = False  # the frontend cuts samples into hops
    context_samples = 30 * SAMPLE_RATE
    padded_context = False  # it was trained on clips as they are; half a second of silence costs 1 % WER
    license: ClassVar = {"license": "MIT", "from": "Moonshine AI, Moonshine base"}
    # silence behind an utterance makes its text worse, and clear ones have none now and then, see `tokens`
    habits: ClassVar[dict[str, Any]] = {
        "tokens_per_second": limits.TOKENS_PER_SECOND,
        "retry_silence": 0.0,
        "end_first": "silence",
    }
    embedding = "decoder.embedding"
    streams = axes.STREAMS
    merges_characters = True
    special_tokens = len(SPECIAL)

    def dims(self, values: dict[str, Any]) -> MoonshineDims:
        return MoonshineDims.from_json(values)

    def network(self, dims: Dims) -> Moonshine:
        return Moonshine(moonshine_dims(dims))

    def computed(self, dims: Dims) -> dict[str, Tensor]:  # noqa: ARG002 - positions are computed where they are used
        return {}

    def program_floats(self, dims: Dims) -> int:
        return 3 * moonshine_dims(dims).conv2  # see `Encoder.keep_constants`

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
        if layer in CONVOLVED:
            return CONVOLVED[layer]
        audio = layer.startswith("encoder.") or ".cross.key" in layer or ".cross.value" in layer
        return (SAMPLES_PER_POSITION, OVERHANG) if audio else None

    def adapter_targets(self, dims: Dims) -> dict[str, str]:
        return names.adapter_targets(len(dims.encoder))

    def token_encoder(self, vocabulary: Vocabulary) -> Callable[[str], list[int]]:
        return token_encoder(vocabulary)

    def vocabulary(
        self,
        tokens: tuple[bytes, ...],
        special: Mapping[str, int],
        suppress: tuple[int, ...],
        suppress_first: tuple[int, ...],
    ) -> Vocabulary:
        return moonshine_vocabulary(tokens, special, suppress, suppress_first)

    def special_ids(self, vocabulary: Vocabulary) -> dict[str, int]:
        return special_ids(vocabulary)

    def keep_tokens(self, vocabulary: Vocabulary, kept: Sequence[int]) -> tuple[Vocabulary, list[int]]:
        return keep_tokens(vocabulary, kept)

    def greedy(
        self, network: SpeechNetwork, vocabulary: Vocabulary, states: Tensor, mask: Tensor | None
    ) -> list[Label]:
        known = [states.shape[1]] * len(states) if mask is None else (mask == 0).sum(1).tolist()
        return label.greedy(network, vocabulary, states, mask, [limits.longest(count) for count in known])

    def forced(self, network: SpeechNetwork, vocabulary: Vocabulary, states: Tensor, text: list[int]) -> Label:
        return label.forced(network, vocabulary, states, text)

    def encode_program(self, network: SpeechNetwork) -> nn.Module:
        return programs.EncodeProgram(_moonshine(network))

    def encode_arguments(self, dims: Dims) -> Arguments:
        return programs.encode_arguments(dims)

    def decode_program(
        self, network: SpeechNetwork, alignment_heads: tuple[tuple[int, int], ...], cache: int
    ) -> programs.DecodeProgram:
        return programs.DecodeProgram(_moonshine(network), alignment_heads, cache)

    def decode_arguments(self, dims: Dims, table: list[Tensor], cache: int, tokens_per_call: int) -> Arguments:
        return decode_arguments(dims, table, cache, tokens_per_call)

    def caches(self, dims: Dims, cache: int) -> tuple[list[Tensor], list[Tensor]]:
        return caches(dims, cache)

    def stream_program(self, network: SpeechNetwork, chunking: Chunking) -> stream.StreamProgram:
        return stream.StreamProgram(_moonshine(network), chunking)

    def stream_arguments(self, dims: Dims, chunking: Chunking) -> tuple[Any, ...]:
        return stream.example(moonshine_dims(dims), chunking)

    def stream_signature(self, dims: Dims, chunking: Chunking) -> dict[str, Any]:
        return stream.signature(moonshine_dims(dims), chunking)

    def convert(self, foreign: Foreign) -> Converted:
        return convert.convert(foreign)


def _moonshine(network: SpeechNetwork) -> Moonshine:
    """The network as Moonshine's own class; raises TypeError where it is of another family."""
    if not isinstance(network, Moonshine):
        raise TypeError(f"wanted a Moonshine network, found {type(network).__name__}")
    return network


FAMILY = MoonshineFamily()
