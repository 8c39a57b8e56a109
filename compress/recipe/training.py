"""Stages that train a network, add to it what is then trained, or combine what was trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compress.checkpoints.load import load_checkpoint
from compress.data.training_data import TrainingData
from compress.distill.adapters import (
    AdapterReport,
    AdapterSettings,
    MergeSettings,
    adapters_of_change,
    check_rank,
    merge_adapters,
)
from compress.distill.average import AverageSettings, average
from compress.distill.early_stopping import EarlyStopping
from compress.distill.settings import DistillSettings
from compress.distill.trainer import Run, distill
from compress.distill.training_log import TrainingReport, training_report
from compress.networks.checkpoint import Checkpoint, add_adapters, add_ctc
from compress.prune import magnitude
from compress.quantize.qat import simulate
from compress.recipe.technique import Technique
from device_asr.errors import UsageError


@dataclass(frozen=True)
class CtcSettings:
    """What the CTC head reads, see `add_ctc`."""

    layers: tuple[int, ...] = ()
    reach: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if min((self.reach, *self.layers)) < 0:
            raise UsageError(
                f"ctc: wanted layers and a reach of at least 0, found {list(self.layers)} and {self.reach}."
            )


def _ctc(checkpoint: Checkpoint, settings: CtcSettings, data: TrainingData, folder: Path) -> tuple[Checkpoint, Any]:
    return add_ctc(checkpoint, settings.layers, settings.reach), None


def _adapters(
    checkpoint: Checkpoint, settings: AdapterSettings, data: TrainingData, folder: Path
) -> tuple[Checkpoint, AdapterReport | None]:
    if settings.changed is not None:
        return adapters_of_change(checkpoint, load_checkpoint(settings.changed), settings.share, settings.rank)
    check_rank(checkpoint, settings.rank, "adapters.rank")
    return add_adapters(checkpoint, settings.rank), None


def _merge_adapters(
    checkpoint: Checkpoint, settings: MergeSettings, data: TrainingData, folder: Path
) -> tuple[Checkpoint, AdapterReport]:
    others = [load_checkpoint(source) for source in settings.checkpoints]
    return merge_adapters([checkpoint, *others], settings.shares, settings.rank)


def _average(
    checkpoint: Checkpoint, settings: AverageSettings, data: TrainingData, folder: Path
) -> tuple[Checkpoint, None]:
    if settings.trainings:
        trained = [
            _distill(checkpoint, training, data, folder / f"training-{k}")[0]
            for k, training in enumerate(settings.trainings, 1)
        ]
        known = len(checkpoint.provenance)
        notes = [note for one in trained for note in one.provenance[known:]]
        networks, of = trained, f"of {len(trained)} trainings"
    else:
        networks, notes = [checkpoint, *map(load_checkpoint, settings.checkpoints)], []
        of = f"of these weights and those of {', '.join(Path(name).name for name in settings.checkpoints)}"
    shares = " : ".join(f"{share:.3g}" for share in settings.shares)
    made = average(networks, settings.shares)
    return replace(made, provenance=(*checkpoint.provenance, *notes, f"the mean {of}, {shares}")), None


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
        data.clips_of(settings.corpus),
        data.noises,
        settings,
        Run(folder, data.labels, magnitude.masks(checkpoint) if data.zeros_stay else {}),
        report,
        early_stopping,
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


STAGES = {
    "ctc": Technique(CtcSettings, _ctc),
    "adapters": Technique(AdapterSettings, _adapters, reads=lambda s: () if s.changed is None else (s.changed,)),
    "merge_adapters": Technique(MergeSettings, _merge_adapters, reads=lambda s: s.checkpoints),
    "average": Technique(AverageSettings, _average, lambda s: bool(s.trainings), reads=lambda s: s.checkpoints),
    "distill": Technique(DistillSettings, _distill, lambda settings: True),
}
