"""The seam for kinds of networks: what the offline stage needs to know of a family, and families by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from compress.networks.axes import Axis
from compress.networks.chunking import Chunking
from compress.networks.decoder import DecodeModule
from compress.networks.dims import Dims
from compress.networks.label import Label
from compress.networks.network import SpeechNetwork, StreamModule
from compress.networks.weights import CheckpointError
from device_asr.bundle.vocabulary import Vocabulary

MODULES = {  # family -> module whose FAMILY it is
    "whisper": "compress.networks.whisper.family",
    "moonshine": "compress.networks.moonshine.family",
}

Side = Literal["encoder", "decoder"]
Part = Literal["attention", "cross", "ffn"]
Arguments = tuple[tuple[Any, ...], Any]  # example arguments and dynamic shapes, as torch.export takes them


@dataclass(frozen=True)
class Foreign:
    """A checkpoint of another program, as its file was read.

    format: of the file. tensors: under that program's own names. config: its settings.
    tokenizer: folder with tokenizer.json. source: the file or folder, for messages.
    """

    format: Literal["ctranslate2", "hugging_face", "onnxruntime", "openai"]
    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any]
    tokenizer: Path
    source: Path


@dataclass(frozen=True)
class Converted:
    """A foreign checkpoint under a family's own names.

    alignment_heads: (decoder layer, head) pairs whose cross-attention follows the words.
    """

    dims: Dims
    weights: Mapping[str, Tensor]
    vocabulary: Vocabulary
    alignment_heads: tuple[tuple[int, int], ...]


class Family(Protocol):
    """A kind of network. Only a family knows the names of its tensors."""

    @property
    def name(self) -> str:
        """The name that checkpoints and manifests carry."""

    @property
    def samples_per_position(self) -> int:
        """Samples of audio at 16 kHz for one position of the encoder."""

    @property
    def overhang(self) -> int:
        """Samples that a position needs besides its first one: a clip's last positions are those that have them."""

    @property
    def spectrogram(self) -> bool:
        """Whether the frontend makes a spectrogram, parts of which can be masked in training."""

    @property
    def context_samples(self) -> int:
        """Samples that a teacher is given at most: longer clips are cut to this length."""

    @property
    def padded_context(self) -> bool:
        """Whether a teacher's clips are padded with silence to `context_samples`."""

    @property
    def license(self) -> Mapping[str, str]:
        """The license of the published weights, and whose they are (`from`), for the manifest."""

    @property
    def habits(self) -> Mapping[str, Any]:
        """What the manifest says of `speech` besides sizes, see `device_asr.bundle.speech.Speech`."""

    @property
    def embedding(self) -> str:
        """The name of the token embedding, which is also the table of the logits."""

    # -- the network -------------------------------------------------------------------------------

    def dims(self, values: dict[str, Any]) -> Dims:
        """Sizes from the JSON values of `Dims.to_json`."""

    def network(self, dims: Dims) -> SpeechNetwork:
        """A network of these sizes, untrained."""

    def computed(self, dims: Dims) -> Mapping[str, Tensor]:
        """The tensors of the state that are computed, not learned, where a checkpoint has the usual ones."""

    def program_floats(self, dims: Dims) -> int:
        """Float32 values that the exported programs hold besides the learned weights."""

    # -- pruning -------------------------------------------------------------------------------------

    @property
    def streams(self) -> tuple[str, ...]:
        """The axes that are `Dims.state` wide, each of which narrowing cuts."""

    def axes(self, dims: Dims) -> Mapping[str, tuple[Axis | None, ...]]:
        """The axes of every tensor of a network; None: an axis that is never cut.

        Raises:
            UsageError: a layer is a product of two already.
        """

    def axis(self, side: Side, layer: int, part: Part) -> str:
        """The name of the axis of a layer's attention heads, cross-attention heads or feed-forward channels."""

    def take(self, tensors: Mapping[str, Tensor], dims: Dims, kept: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
        """Copies of a network's tensors, all or some of them, with only the kept units of the named axes."""

    def taken(self, dims: Dims, kept: Mapping[str, Sequence[int]]) -> Dims:
        """The dims of a network whose tensors went through `take`."""

    def take_layers(self, tensors: Mapping[str, Tensor], side: Side, kept: Sequence[int]) -> dict[str, Tensor]:
        """Tensors of the kept layers of a side, numbered anew, and all tensors that are in no layer of it."""

    def layer_of(self, tensor: str) -> tuple[str, int] | None:
        """The side and the number of the layer that a tensor belongs to; None: to no layer."""

    def audio_inputs(self, layer: str) -> tuple[int, int] | None:
        """The samples from one input of a linear layer to the next, and those that it needs besides its first one.

        None: its inputs are tokens.
        """

    # -- adapters ------------------------------------------------------------------------------------

    def adapter_targets(self, dims: Dims) -> Mapping[str, str]:
        """The name of each adapter of a network that has them, and the name of the linear layer that it changes."""

    # -- vocabulary and decoding -------------------------------------------------------------------

    @property
    def special_tokens(self) -> int:
        """Tokens of a vocabulary besides its text."""

    @property
    def merges_characters(self) -> bool:
        """Whether encoding begins with characters, those that are tokens, or with bytes."""

    def token_encoder(self, vocabulary: Vocabulary) -> Callable[[str], list[int]]:
        """Byte-pair encoding of text into ids of `vocabulary`, pruned or not."""

    def vocabulary(
        self,
        tokens: tuple[bytes, ...],
        special: Mapping[str, int],
        suppress: tuple[int, ...],
        suppress_first: tuple[int, ...],
    ) -> Vocabulary:
        """The vocabulary of a stored checkpoint, with special ids by name."""

    def special_ids(self, vocabulary: Vocabulary) -> dict[str, int]:
        """The special ids of a vocabulary by name, as checkpoints store them.

        Raises:
            CheckpointError: the vocabulary is none of this family.
        """

    def keep_tokens(self, vocabulary: Vocabulary, kept: Sequence[int]) -> tuple[Vocabulary, list[int]]:
        """The vocabulary with only the kept text tokens, and the old id of each of its rows."""

    def greedy(
        self, network: SpeechNetwork, vocabulary: Vocabulary, states: Tensor, mask: Tensor | None
    ) -> list[Label]:
        """Greedy decoding of encoder states (batch, positions, state) with their mask, without guards."""

    def forced(self, network: SpeechNetwork, vocabulary: Vocabulary, states: Tensor, text: list[int]) -> Label:
        """The network's distribution at every step of a given text; see `Label`.

        Args:
            states: (1, positions, state), of one clip.
            text: ids. Where the network's best token is another one, the text's token gets all probability.
        """

    # -- exported programs ---------------------------------------------------------------------------

    def encode_program(self, network: SpeechNetwork) -> nn.Module:
        """The method `encode`; it shares the network's modules and may change them in place."""

    def encode_arguments(self, dims: Dims) -> Arguments:
        """Example arguments and dynamic shapes of `encode`."""

    def decode_program(
        self, network: SpeechNetwork, alignment_heads: tuple[tuple[int, int], ...], cache: int
    ) -> DecodeModule:
        """The method `decode` with a cache of so many tokens; it shares the network's modules."""

    def decode_arguments(self, dims: Dims, table: list[Tensor], cache: int, tokens_per_call: int) -> Arguments:
        """Example arguments and dynamic shapes of `decode`; `table`: see `embedding.stored_form`."""

    def caches(self, dims: Dims, cache: int) -> tuple[list[Tensor], list[Tensor]]:
        """The empty caches of every decoder layer that `decode` takes: keys, then values."""

    def stream_program(self, network: SpeechNetwork, chunking: Chunking) -> StreamModule:
        """The method `stream` of a network with a CTC head; it shares the network's modules."""

    def stream_arguments(self, dims: Dims, chunking: Chunking) -> tuple[Any, ...]:
        """The arguments of `stream` before any audio: a first chunk, then the state."""

    def stream_signature(self, dims: Dims, chunking: Chunking) -> dict[str, Any]:
        """What the manifest says of the method `stream`."""

    # -- checkpoints of other programs -------------------------------------------------------------

    def convert(self, foreign: Foreign) -> Converted:
        """A checkpoint of another program under this family's names; sizes are read off the tensors.

        Raises:
            CheckpointError: a tensor or setting is missing or does not fit.
        """


def family_named(name: str) -> Family:
    """The family of that name, imported when it is first asked for.

    Raises:
        CheckpointError: no such family.
    """
    if name not in MODULES:
        raise CheckpointError(f"Wanted a network of {' or '.join(MODULES)}, found the family {name!r}.")
    family: Family = importlib.import_module(MODULES[name]).FAMILY
    return family


def family_of(dims: Dims) -> Family:
    """The family that dims belong to."""
    return family_named(dims.family)
