"""The recipe space of a search: what may vary, and how large the outcome is, told without building it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from compress.networks.dims import Dims, LayerDims
from compress.networks.family import family_of
from compress.quantize.plan import QuantizationPlan, Width
from device_asr.errors import UsageError

if TYPE_CHECKING:
    from optuna import Trial

VOCABULARIES = (5000, 8000, 12000, 16000, 24000)
SHARES = (0.5, 0.67, 0.83, 1.0)  # of heads: 3, 4, 5 and 6 of six
FFN_SHARES = (0.5, 0.625, 0.75, 0.875, 1.0)
FFN_MULTIPLE = 8  # channels: lanes of the kernels
GROUP = 32  # columns that share a scale of 4-bit weights
VAD_BYTES = 1_255_172  # vad.pte, the same in every bundle
TOKEN_BYTES = 4.6  # of the vocabulary's file a token: 232 222 for 50 256


@dataclass(frozen=True)
class Candidate:
    """One point of the space.

    vocabulary: text tokens. encoder_layers, decoder_layers: kept. heads, ffn: shares kept of every
    layer's heads and feed-forward channels. bits: of the linear layers' weights. epochs: of distillation.
    """

    vocabulary: int
    encoder_layers: int
    decoder_layers: int
    heads: float
    ffn: float
    bits: int
    epochs: int
    embedding: int = 8

    @property
    def plan(self) -> QuantizationPlan:
        """How it is quantized: 4 bits in groups."""
        width, table = (Width(bits, GROUP if bits == 4 else None) for bits in (self.bits, self.embedding))
        return QuantizationPlan(width.bits, width.group, embedding=table.bits, embedding_group=table.group)

    @property
    def key(self) -> str:
        """A name for its folder, the same for the same settings."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Space:
    """What each setting may be, in ascending order."""

    vocabulary: tuple[int, ...]
    encoder_layers: tuple[int, ...]
    decoder_layers: tuple[int, ...]
    heads: tuple[float, ...] = SHARES
    ffn: tuple[float, ...] = FFN_SHARES
    bits: tuple[int, ...] = (4, 8)
    epochs: tuple[int, ...] = (1, 2, 4)
    embedding: tuple[int, ...] = (4, 8)

    def suggest(self, trial: Trial) -> Candidate:
        """A candidate drawn by the study's sampler."""
        return Candidate(**{name: trial.suggest_categorical(name, choices) for name, choices in asdict(self).items()})

    @property
    def smallest(self) -> Candidate:
        """The least of everything."""
        return Candidate(**{name: min(choices) for name, choices in asdict(self).items()})

    def whole(self, teacher: Dims, fits: Callable[[Size], bool]) -> list[Candidate]:
        """Whole networks with fewer tokens: for each bit width the most tokens whose estimate `fits`.

        Fewer bits in the embedding first: 4 of them cost no word that 50 clips could show, fewer tokens do.
        """
        largest = Candidate(**{name: max(choices) for name, choices in asdict(self).items()})
        found = []
        for bits in self.bits:
            fitting = [
                replace(largest, vocabulary=tokens, bits=bits, embedding=min(self.embedding), epochs=min(self.epochs))
                for tokens in self.vocabulary
            ]
            found += [one for one in fitting if fits(size_of(teacher, one))][-1:]
        return found

    def to_json(self) -> dict[str, list[Any]]:
        """As plain JSON values."""
        return {name: list(choices) for name, choices in asdict(self).items()}


def space_of(teacher: Dims, tokens: int, *, distill: bool = True) -> Space:
    """What may vary of a teacher with so many text `tokens`.

    Args:
        distill: whether students are trained; else `epochs` is 0.
    """
    encoder, decoder = len(teacher.encoder), len(teacher.decoder)
    return Space(
        tuple(sorted({*(size for size in VOCABULARIES if size < tokens), tokens})),
        tuple(range((encoder + 1) // 2, encoder + 1)),
        tuple(range(1, decoder + 1)),
        epochs=(1, 2, 4) if distill else (0,),
    )


def student_dims(teacher: Dims, candidate: Candidate) -> Dims:
    """The sizes of the candidate's network.

    Raises:
        UsageError: more layers than the teacher has.
    """
    for side, wanted in (("encoder", candidate.encoder_layers), ("decoder", candidate.decoder_layers)):
        if not 1 <= wanted <= len(getattr(teacher, side)):
            raise UsageError(f"{side} layers: wanted 1 to {len(getattr(teacher, side))}, found {wanted}.")

    def kept(layer: LayerDims) -> LayerDims:
        ffn = max(FFN_MULTIPLE, round(layer.ffn * candidate.ffn / FFN_MULTIPLE) * FFN_MULTIPLE)
        heads, cross = (max(1, round(n * candidate.heads)) if n else 0 for n in (layer.heads, layer.cross_heads))
        return LayerDims(heads, ffn, cross)

    return replace(
        teacher,
        vocab=candidate.vocabulary + family_of(teacher).special_tokens,
        encoder=tuple(kept(layer) for layer in teacher.encoder[: candidate.encoder_layers]),
        decoder=tuple(kept(layer) for layer in teacher.decoder[: candidate.decoder_layers]),
    )


@dataclass(frozen=True)
class Size:
    """Weights, and bytes of the bundle."""

    parameters: int
    bytes: int


@cache
def estimate(dims: Dims, plan: QuantizationPlan) -> Size:
    """The size of a network that was not built; its bundle's within 1 % for en-tiny, 1.4 % less for Moonshine base.

    Linear weights and the tied embedding have the plan's widths; all else is float32.

    Raises:
        UsageError: the plan does not fit the network.
    """
    family = family_of(dims)
    with torch.device("meta"):
        network = family.network(dims)
    computed = family.computed(dims)
    weights = {name: tensor for name, tensor in network.state_dict().items() if name not in computed}
    widths = {f"{name}.weight": width for name, width in {**plan.widths(network), family.embedding: plan.table}.items()}
    total = 4 * family.program_floats(dims)
    for name, tensor in weights.items():
        width = widths.get(name)
        total += 4 * tensor.numel() if width is None else width.bytes(*tensor.shape)
    return Size(
        sum(tensor.numel() for tensor in weights.values()),
        round(total + VAD_BYTES + TOKEN_BYTES * (dims.vocab - family.special_tokens)),
    )


def size_of(teacher: Dims, candidate: Candidate) -> Size:
    """The estimate for a candidate.

    Raises:
        UsageError: see `student_dims`.
    """
    return estimate(student_dims(teacher, candidate), candidate.plan)
