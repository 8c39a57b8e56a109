"""Stages that train a network, or add to it what is then trained: distillation, CTC head, adapters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compress.data.training_data import TrainingData
from compress.distill.early_stopping import EarlyStopping
from compress.distill.settings import DistillSettings
from compress.distill.trainer import Run, distill
from compress.distill.training_log import TrainingReport, training_report
from compress.networks.checkpoint import Checkpoint, add_adapters, add_ctc
from compress.prune import magnitude
from compress.quantize.qat import simulate
from compress.recipe.technique import NoSettings, Technique
from compress.settings import check_count
from device_asr.errors import UsageError


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
    "ctc": Technique(NoSettings, _ctc),
    "adapters": Technique(AdapterSettings, _adapters),
    "distill": Technique(DistillSettings, _distill, lambda settings: True),
}
