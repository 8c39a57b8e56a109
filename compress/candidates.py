"""The recipe space of a search: what may vary, and how large the outcome is, told without building it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from compress.whisper import Dims, LayerDims
from device_asr.errors import UsageError

if TYPE_CHECKING:
    from optuna import Trial

VOCABULARIES = (5000, 8000, 12000, 16000, 24000)
SPECIAL_TOKENS = 4
SHARES = (0.5, 0.67, 0.83, 1.0)  # of heads: 3, 4, 5 and 6 of six
FFN_SHARES = (0.5, 0.625, 0.75, 0.875, 1.0)
FFN_MULTIPLE = 8  # channels: lanes of the kernels
GROUP = 32  # columns that share a scale of 4-bit weights
VAD_BYTES = 1_255_172  # vad.pte, the same in every bundle
FRONTEND_FLOATS = 400 * 402  # the DFT matrix; the mel filters come on top
PIECE_BYTES = 11.1  # of vocabulary.txt a piece: 266 148 for 24 000


@dataclass(frozen=True)
class Candidate:
    """One point of the space.

    vocabulary: text pieces. encoder_layers, decoder_layers: kept. heads, ffn: shares kept of every
    layer's heads and feed-forward channels. bits: of the linear layers' weights. epochs: of distillation.
    """

    vocabulary: int
    encoder_layers: int
    decoder_layers: int
    heads: float
    ffn: float
    bits: int
    epochs: int

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

    def suggest(self, trial: Trial) -> Candidate:
        """A candidate drawn by the study's sampler."""
        return Candidate(**{name: trial.suggest_categorical(name, choices) for name, choices in asdict(self).items()})

    @property
    def smallest(self) -> Candidate:
        """The least of everything."""
        return Candidate(**{name: min(choices) for name, choices in asdict(self).items()})

    def to_json(self) -> dict[str, list[Any]]:
        """As plain JSON values."""
        return {name: list(choices) for name, choices in asdict(self).items()}


def space_of(teacher: Dims, pieces: int, *, structure: bool = True, distil: bool = True) -> Space:
    """What may vary of a teacher with so many text `pieces`.

    Args:
        structure: whether layers, heads and channels may be removed.
        distil: whether students are trained; else `epochs` is 0.
    """
    vocabulary = tuple(sorted({*(size for size in VOCABULARIES if size < pieces), pieces}))
    encoder, decoder = len(teacher.encoder), len(teacher.decoder)
    if not structure:
        return Space(vocabulary, (encoder,), (decoder,), (1.0,), (1.0,), epochs=(1, 2, 4) if distil else (0,))
    return Space(vocabulary, tuple(range((encoder + 1) // 2, encoder + 1)), tuple(range(1, decoder + 1)),
                 epochs=(1, 2, 4) if distil else (0,))


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

    return replace(teacher, vocab=candidate.vocabulary + SPECIAL_TOKENS,
                   encoder=tuple(kept(layer) for layer in teacher.encoder[: candidate.encoder_layers]),
                   decoder=tuple(kept(layer) for layer in teacher.decoder[: candidate.decoder_layers]))


@dataclass(frozen=True)
class Size:
    """Weights, and bytes of the bundle."""

    parameters: int
    bytes: int


@cache
def estimate(dims: Dims, bits: int) -> Size:
    """The size of a network that was not built; its bundle's within 1 % for the shipped model (int8).

    Linear weights take `bits` each and 4 bytes for every scale (a row's, or a group's of 4-bit weights),
    the tied embedding 8 bits at least, all else 4 bytes a number.
    """
    import torch

    from compress.whisper import Whisper

    with torch.device("meta"):
        weights: Mapping[str, torch.Tensor] = Whisper(dims).state_dict()
    total = 4.0 * (FRONTEND_FLOATS + 201 * dims.n_mels)
    for name, tensor in weights.items():
        if tensor.dim() != 2 or not name.endswith(".weight") or bits == 32:
            total += 4 * tensor.numel()
        elif bits == 8 or name == "decoder.embedding.weight":
            total += tensor.numel() + 4 * tensor.shape[0]
        else:
            total += tensor.numel() * bits / 8 + 4 * tensor.numel() / GROUP
    return Size(sum(t.numel() for t in weights.values()),
                round(total + VAD_BYTES + PIECE_BYTES * (dims.vocab - SPECIAL_TOKENS)))
