"""The techniques a recipe may name: settings and checkpoint in, checkpoint and what was removed out."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

from compress.data import calibration
from compress.data.training_data import TrainingData
from compress.distill.early_stopping import EarlyStopping
from compress.distill.settings import DistillSettings
from compress.distill.trainer import distill
from compress.distill.training_log import TrainingReport, training_report
from compress.evaluate.accuracy import accuracy
from compress.lowrank import lowrank
from compress.lowrank.lowrank import LowRankReport, LowRankSettings, Step
from compress.networks.checkpoint import Checkpoint, add_adapters, add_ctc
from compress.prune import magnitude as prune
from compress.prune import structured, vocabulary
from compress.prune.structured import FfnSettings, HeadSettings, LayerSettings, NarrowSettings, StructureReport
from compress.quantize.gptq import GptqReport, GptqSettings, apply_gptq
from compress.quantize.qat import simulate
from compress.settings import check_count, check_types
from device_asr.errors import DeviceAsrError, UsageError

IMPORTANCE_CLIPS = 64  # for Taylor; 8 of them already rank heads well, see importance.py
CALIBRATION_CLIPS = 64  # for the moments of a layer's inputs; a clip is some 500 rows of at most 1536 columns

Run = Callable[[Checkpoint, Any, TrainingData, Path], tuple[Checkpoint, Any]]


class BudgetError(DeviceAsrError):
    """A budget that cannot hold."""


@dataclass(frozen=True)
class Technique:
    """A step of a recipe.

    run: checkpoint, settings, data and a folder for what goes on after a cut -> the new checkpoint and
    a report, a dataclass of plain numbers. learns: whether settings depend on the recipe's clips.
    zeros: whether it leaves single weights at zero that later training keeps there.
    """

    settings: type
    run: Run
    learns: Callable[[Any], bool] = lambda settings: False
    zeros: bool = False


# -- vocabulary, letters, chunks -----------------------------------------------------------------------------


@dataclass(frozen=True)
class VocabularySettings:
    """size: text pieces that stay, see `vocabulary.select`."""

    size: int

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or self.size < 1:
            raise UsageError(f"vocabulary.size: wanted a whole number of pieces, found {self.size!r}.")


def _vocabulary(
    checkpoint: Checkpoint, settings: VocabularySettings, data: TrainingData, folder: Path
) -> tuple[Checkpoint, Any]:
    return vocabulary.prune(checkpoint, settings.size)


@dataclass(frozen=True)
class NoSettings:
    """A technique without settings."""


def _ctc(checkpoint: Checkpoint, settings: NoSettings, data: TrainingData, folder: Path) -> tuple[Checkpoint, Any]:
    return add_ctc(checkpoint), None


@dataclass(frozen=True)
class AdapterSettings:
    """rank: of the changes of the encoder's linear layers where it hears in chunks, see `adapters.py`."""

    rank: int

    def __post_init__(self) -> None:
        check_count("adapters.rank", self.rank)


def _adapters(
    checkpoint: Checkpoint, settings: AdapterSettings, data: TrainingData, folder: Path
) -> tuple[Checkpoint, Any]:
    dims = checkpoint.dims
    narrowest = min(min(dims.state, layer.heads * dims.head_dim, layer.ffn) for layer in dims.encoder)
    if settings.rank > narrowest:
        raise UsageError(
            f"adapters.rank: wanted at most {narrowest}, the encoder's narrowest layer, found {settings.rank}."
        )
    return add_adapters(checkpoint, settings.rank), None


# -- pruning -----------------------------------------------------------------------------------------


def _magnitude(
    checkpoint: Checkpoint, settings: prune.MagnitudeSettings, data: TrainingData, folder: Path
) -> tuple[Checkpoint, prune.MagnitudeReport]:
    return prune.magnitude(checkpoint, settings)


def _structured(cut: Callable[[Checkpoint, Any, Iterable[Any]], tuple[Checkpoint, StructureReport]]) -> Run:
    def run(
        checkpoint: Checkpoint, settings: Any, data: TrainingData, folder: Path
    ) -> tuple[Checkpoint, StructureReport]:
        if not _taylor(settings):
            return cut(checkpoint, settings, ())
        found = data.calibration_clips(checkpoint.vocabulary, IMPORTANCE_CLIPS)
        return cut(checkpoint, settings, calibration.labeled_batches(found, checkpoint.vocabulary))

    return run


def _taylor(settings: Any) -> bool:
    return settings.importance == "taylor"


# -- low rank ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LowRankStage(LowRankSettings):
    """Low rank as a stage; see `LowRankSettings`.

    wer_budget: a share; the energy is then lowered and raised until the smallest network that holds it is
    found, see `lowrank.within_budget`. steps: cuts evaluated at most. clips: of the recipe's, with given
    texts, that WER is measured on. padded: whether to 30 s, for a network that is not distilled yet.
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
    batches = calibration.token_batches(found, checkpoint.vocabulary)
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


# -- rounding ----------------------------------------------------------------------------------------


def _round(
    checkpoint: Checkpoint, settings: GptqSettings, data: TrainingData, folder: Path
) -> tuple[Checkpoint, GptqReport]:
    found = data.calibration_clips(checkpoint.vocabulary, settings.clips)
    return apply_gptq(checkpoint, settings, calibration.token_batches(found, checkpoint.vocabulary), data.zeros_stay)


# -- training ----------------------------------------------------------------------------------------


def _distill(
    checkpoint: Checkpoint, settings: DistillSettings, data: TrainingData, folder: Path
) -> tuple[Checkpoint, TrainingReport]:
    def report(values: dict[str, Any]) -> None:
        data.progress(
            "distill",
            values["step"] / values["of"],
            f"loss {values['loss']}, {values['speed']:.1f} s of audio and {values['words']:.1f} words a "
            f"second, {values['left'] / 60:.0f} min left",
        )

    early_stopping = None
    if settings.evaluate is not None:
        early_stopping = EarlyStopping(
            data.evaluation_clips(settings.evaluate, settings.evaluate_clips),
            settings.wer_budget,
            settings.patience,
            settings.epochs,
            folder,
            lambda student: simulate(student, settings.qat) if settings.qat else student.network(),
            lambda verdict: data.progress("distill", 1.0, verdict),
        )
    student = distill(
        data.teacher,
        checkpoint,
        data.clips,
        data.noises,
        settings,
        folder,
        report,
        early_stopping=early_stopping,
        labels=data.labels,
        masks=prune.masks(checkpoint) if data.zeros_stay else None,
    )
    done = training_report(folder)
    if early_stopping is not None:
        student, last = early_stopping.best(), done.verdicts[-1]
        note = (
            f"evaluated on {last['clips']} clips of {settings.evaluate}, short context, no guards: "
            f"{last['decision']}, {last['reason']}"
        )
        student = replace(student, provenance=(*student.provenance, note))
    return student, done


TECHNIQUES = {
    "ctc": Technique(NoSettings, _ctc),
    "adapters": Technique(AdapterSettings, _adapters),
    "vocabulary": Technique(VocabularySettings, _vocabulary),
    "magnitude": Technique(prune.MagnitudeSettings, _magnitude, zeros=True),
    "heads": Technique(HeadSettings, _structured(structured.prune_heads), _taylor),
    "ffn": Technique(FfnSettings, _structured(structured.prune_ffn), _taylor),
    "layers": Technique(LayerSettings, _structured(structured.prune_layers), _taylor),
    "narrow": Technique(NarrowSettings, _structured(structured.narrow), _taylor),
    "lowrank": Technique(LowRankStage, _lowrank, lambda s: s.activations or s.wer_budget is not None),
    "round": Technique(GptqSettings, _round, lambda settings: True),
    "distill": Technique(DistillSettings, _distill, lambda settings: True),
}


def settings_of(table: Mapping[str, Any]) -> tuple[Technique, Any]:
    """A recipe's table as a technique and its checked settings.

    Raises:
        UsageError: no such technique or setting (the nearest is named), a setting that is missing or cannot be.
    """
    values = dict(table)
    name = values.pop("do", None)
    if name not in TECHNIQUES:
        raise UsageError(
            f"Recipe, a table of [[stages]]: wanted do = one of {', '.join(TECHNIQUES)}, "
            f"found {name!r}{_nearest(name, TECHNIQUES)}"
        )
    technique = TECHNIQUES[name]
    known = [f.name for f in fields(technique.settings)]
    for key in values:
        if key not in known:
            raise UsageError(
                f"Recipe, stage {name}: wanted settings of {', '.join(known) or 'no name'}, found {key!r}"
                f"{_nearest(key, known)}"
            )
    check_types(technique.settings, values, f"Recipe, stage {name}")
    lacking = [
        f.name
        for f in fields(technique.settings)
        if f.default is MISSING and f.default_factory is MISSING and f.name not in values
    ]
    if lacking:
        raise UsageError(
            f"Recipe, stage {name}: wanted settings of {', '.join(known)}, found no "
            f"{' and no '.join(lacking)}, which must be given."
        )
    return technique, technique.settings(**values)


def _nearest(name: Any, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), names, 1)
    return f"; did you mean {near[0]!r}?" if near else "."
