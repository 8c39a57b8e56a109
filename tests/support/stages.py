"""Stages of a recipe run one by one on a tiny network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compress.data.training_data import TrainingData
from compress.networks.checkpoint import Checkpoint
from compress.networks.dims import LayerDims
from compress.networks.whisper.dims import WhisperDims
from compress.recipe.cache import Stages
from compress.recipe.techniques import settings_of
from tests.support import speaking_teacher
from tests.support.speaking_teacher import BYTES

DIMS = WhisperDims(
    n_mels=8,
    state=32,
    head_dim=8,
    audio_ctx=1500,
    text_ctx=208,
    vocab=260,
    encoder=(LayerDims(4, 64),) * 2,
    decoder=(LayerDims(4, 64, 4),) * 2,
)
TRAINING = {"do": "distill", "epochs": 1, "batch": 4, "rate": 1e-2, "warmup": 1, "average": 0.5, "cut": 0.0}


def untrained(seed: int) -> Checkpoint:
    """A network of `DIMS` with random weights."""
    return speaking_teacher.untrained(DIMS, BYTES, seed)


def stage(table: dict[str, Any], checkpoint: Checkpoint, data: TrainingData, folder: Path) -> tuple[Checkpoint, Any]:
    """The checkpoint and the report of one stage."""
    technique, settings = settings_of(table)
    return technique.run(checkpoint, settings, data, folder)


def walk(tables: list[dict[str, Any]], checkpoint: Checkpoint, data: TrainingData, work: Path) -> Checkpoint:
    """The checkpoint after stages, whose results are kept in `work`."""
    stages = Stages(work, data.progress)
    return stages.walk(tables, {"train": "all"}, data, checkpoint, "start")[0]


def zeros(checkpoint: Checkpoint) -> int:
    """Weights of matrices that are zero."""
    return sum(
        int((tensor == 0).sum())
        for name, tensor in checkpoint.weights.items()
        if name.endswith(".weight") and tensor.dim() == 2
    )
