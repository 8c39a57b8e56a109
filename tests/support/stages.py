"""Stages of a recipe run one by one on a tiny network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compress.data.training_data import TrainingData
from compress.networks.checkpoint import Checkpoint
from compress.networks.dims import Dims, LayerDims
from compress.networks.moonshine.dims import MoonshineDims
from compress.networks.moonshine.tokens import moonshine_vocabulary
from compress.networks.whisper.dims import WhisperDims
from compress.recipe.cache import Stages
from compress.recipe.techniques import settings_of
from device_asr.bundle.vocabulary import Vocabulary
from tests.support import speaking_teacher
from tests.support.speaking_teacher import BYTES, speaking

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
MOONSHINE = MoonshineDims(
    conv1=16,
    conv2=24,
    rotary=4,
    state=32,
    head_dim=8,
    audio_ctx=1250,
    text_ctx=194,
    vocab=260,
    encoder=DIMS.encoder,
    decoder=DIMS.decoder,
)
WORDS = moonshine_vocabulary((*BYTES.tokens, b" oh", b" no."), {"end": 258, "start": 259})
OF_FAMILY: dict[str, tuple[Dims, Vocabulary, list[int]]] = {  # what its teacher writes last
    "whisper": (DIMS, BYTES, list(b" oh no.")),
    "moonshine": (MOONSHINE, WORDS, [256, 257]),
}
TRAINING = {"do": "distill", "epochs": 1, "batch": 4, "rate": 1e-2, "warmup": 1, "average": 0.5, "cut": 0.0}


def teacher_of(family: str) -> Checkpoint:
    """A teacher that writes " oh no." to everything."""
    dims, vocabulary, said = OF_FAMILY[family]
    return speaking(dims, vocabulary, said)


def untrained(seed: int, teacher: Checkpoint) -> Checkpoint:
    """A network of the teacher's sizes with random weights."""
    return speaking_teacher.untrained(teacher.dims, teacher.vocabulary, seed)


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
