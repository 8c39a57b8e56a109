"""The stage that says which heads of cross-attention follow the words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from compress.data.training_data import TrainingData
from compress.networks.checkpoint import Checkpoint
from compress.recipe.technique import Technique
from device_asr.errors import UsageError


@dataclass(frozen=True)
class AlignmentSettings:
    """heads: a list of [decoder layer, head], both from 0, of the network as it is at this stage."""

    heads: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        pairs = tuple(tuple(pair) for pair in self.heads)
        if not pairs or any(len(pair) != 2 or min(pair) < 0 for pair in pairs) or len(set(pairs)) != len(pairs):
            raise UsageError(
                "alignment.heads: wanted a list of [layer, head], both from 0 and no pair twice, found "
                f"{[list(pair) for pair in pairs]}."
            )
        object.__setattr__(self, "heads", tuple(sorted(pairs)))


@dataclass(frozen=True)
class AlignmentReport:
    """The alignment heads before and after, [decoder layer, head] each."""

    before: tuple[tuple[int, int], ...]
    after: tuple[tuple[int, int], ...]


def _alignment(
    checkpoint: Checkpoint, settings: AlignmentSettings, data: TrainingData, folder: Path
) -> tuple[Checkpoint, AlignmentReport]:
    """The same weights with other alignment heads.

    Raises:
        UsageError: the network has no such head.
    """
    layers = checkpoint.dims.decoder
    for layer, head in settings.heads:
        if layer >= len(layers) or head >= layers[layer].cross_heads:
            heads = ", ".join(str(one.cross_heads) for one in layers)
            raise UsageError(
                f"alignment.heads: wanted heads of the decoder, whose layers have {heads} of them, found "
                f"[{layer}, {head}]."
            )
    note = f"alignment heads {', '.join(f'{layer}.{head}' for layer, head in settings.heads)} (layer.head)"
    made = replace(checkpoint, alignment_heads=settings.heads, provenance=(*checkpoint.provenance, note))
    return made, AlignmentReport(checkpoint.alignment_heads, made.alignment_heads)


STAGES = {"alignment": Technique(AlignmentSettings, _alignment)}
