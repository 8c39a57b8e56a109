"""Stages that make a network smaller: vocabulary, pruning, low rank, rounding to 4 bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.data import calibration
from compress.data.training_data import TrainingData
from compress.evaluate.accuracy import accuracy
from compress.lowrank import lowrank
from compress.lowrank.lowrank import LowRankReport, LowRankSettings, Step
from compress.networks.checkpoint import Checkpoint
from compress.prune import magnitude, structured, vocabulary
from compress.prune.magnitude import MagnitudeReport, MagnitudeSettings
from compress.prune.structured import FfnSettings, HeadSettings, LayerSettings, NarrowSettings, StructureReport
from compress.quantize.gptq import GptqReport, GptqSettings, apply_gptq
from compress.recipe.technique import Run, Technique
from compress.settings import check_count
from device_asr.errors import DeviceAsrError, UsageError

IMPORTANCE_CLIPS = 64  # for Taylor; 8 of them already rank heads well, see importance.py
CALIBRATION_CLIPS = 64  # for the moments of a layer's inputs; a clip is some 500 rows of at most 1536 columns


class BudgetError(DeviceAsrError):
    """A budget that cannot hold."""


@dataclass(frozen=True)
class VocabularySettings:
    """size: text tokens that stay, see `vocabulary.select`."""

    size: int

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or self.size < 1:
            raise UsageError(f"vocabulary.size: wanted a whole number of tokens, found {self.size!r}.")


def _vocabulary(
    checkpoint: Checkpoint, settings: VocabularySettings, data: TrainingData, folder: Path
) -> tuple[Checkpoint, Any]:
    return vocabulary.prune(checkpoint, settings.size)


def _magnitude(
    checkpoint: Checkpoint, settings: MagnitudeSettings, data: TrainingData, folder: Path
) -> tuple[Checkpoint, MagnitudeReport]:
    return magnitude.magnitude(checkpoint, settings)


def _structured(cut: Callable[[Checkpoint, Any, Iterable[Any]], tuple[Checkpoint, StructureReport]]) -> Run:
    def run(
        checkpoint: Checkpoint, settings: Any, data: TrainingData, folder: Path
    ) -> tuple[Checkpoint, StructureReport]:
        if not _taylor(settings):
            return cut(checkpoint, settings, ())
        found = data.calibration_clips(checkpoint.vocabulary, IMPORTANCE_CLIPS)
        return cut(checkpoint, settings, calibration.labeled_batches(found, checkpoint))

    return run


def _taylor(settings: Any) -> bool:
    return settings.importance == "taylor"


@dataclass(frozen=True)
class LowRankStage(LowRankSettings):
    """Low rank as a stage; see `LowRankSettings`.

    wer_budget: a share; the energy is then lowered and raised until the smallest network that holds it is
    found, see `lowrank.within_budget`. steps: cuts evaluated at most. clips: of the recipe's, with given
    texts, that WER is measured on. padded: as the family's teachers are given them (Whisper's to 30 s), for a
    network that is not distilled yet.
    """

    wer_budget: float | None = None
    steps: int = 8
    clips: int = 32
    padded: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.wer_budget is not None and not 0 <= self.wer_budget < 1:
            raise UsageError(f"lowrank.wer_budget: wanted a share in [0, 1) such as 0.15, found {self.wer_budget}.")
        if self.wer_budget is not None and self.energy in (None, 1):
            raise UsageError(
                "lowrank.wer_budget: wanted an energy below 1 to begin with, found "
                f"{'a rank' if self.energy is None else self.energy}."
            )
        for name in ("steps", "clips"):
            check_count(f"lowrank.{name}", getattr(self, name))


@dataclass(frozen=True)
class LowRankSearch:
    """What the search for a budget did; report: of the network it ended with. See `lowrank.Outcome`."""

    held: bool
    reason: str
    steps: tuple[Step, ...]
    report: LowRankReport


def _lowrank(
    checkpoint: Checkpoint, settings: LowRankStage, data: TrainingData, folder: Path
) -> tuple[Checkpoint, LowRankReport | LowRankSearch]:
    found = data.calibration_clips(checkpoint.vocabulary, CALIBRATION_CLIPS) if settings.activations else ()
    batches = calibration.token_batches(found, checkpoint)
    if settings.wer_budget is None:
        return lowrank.factorize(checkpoint, settings, batches)
    clips = data.sample(settings.clips, texts=True)

    def wer(cut: Checkpoint) -> float:
        return accuracy(cut.network(), cut.vocabulary, clips, settings.padded).wer

    def tell(one: Step) -> None:
        data.progress(
            "lowrank", None, f"energy {one.energy:.4f}: {one.parameters / 1e6:.2f} M parameters, WER {one.wer:.2%}"
        )

    outcome = lowrank.within_budget(checkpoint, batches, settings, wer, settings.wer_budget, settings.steps, tell)
    if not outcome.steps[0].holds:
        raise BudgetError(f"lowrank.wer_budget: {outcome.reason}")
    return outcome.checkpoint, LowRankSearch(outcome.held, outcome.reason, outcome.steps, outcome.report)


def _gptq(
    checkpoint: Checkpoint, settings: GptqSettings, data: TrainingData, folder: Path
) -> tuple[Checkpoint, GptqReport]:
    found = data.calibration_clips(checkpoint.vocabulary, settings.clips)
    return apply_gptq(checkpoint, settings, calibration.token_batches(found, checkpoint), data.zeros_stay)


STAGES = {
    "vocabulary": Technique(VocabularySettings, _vocabulary),
    "magnitude": Technique(MagnitudeSettings, _magnitude, zeros=True),
    "heads": Technique(HeadSettings, _structured(structured.prune_heads), _taylor),
    "ffn": Technique(FfnSettings, _structured(structured.prune_ffn), _taylor),
    "layers": Technique(LayerSettings, _structured(structured.prune_layers), _taylor),
    "narrow": Technique(NarrowSettings, _structured(structured.narrow), _taylor),
    "lowrank": Technique(LowRankStage, _lowrank, lambda s: s.activations or s.wer_budget is not None),
    "gptq": Technique(GptqSettings, _gptq, lambda settings: True),
}
