"""The programs of a recipe, exported once and kept."""

from __future__ import annotations

import hashlib
import json
import time

import numpy as np

from compress.data import calibration
from compress.data.training_data import TrainingData
from compress.export.export import SpeechProgram, export_speech
from compress.export.vad import export_vad
from compress.networks.checkpoint import Checkpoint
from compress.networks.silero import load_silero, weights_path
from compress.paths import LETTER
from compress.quantize.plan import report
from compress.recipe.cache import REPORT, Stages, plain, write_json
from compress.recipe.recipe import Recipe
from compress.settings import key as key_of
from device_asr.audio.format import SAMPLE_RATE

STATIC_CLIPS = 32  # that the ranges of static activations are measured on


def export_programs(
    stages: Stages, checkpoint: Checkpoint, recipe: Recipe, data: TrainingData, key: str
) -> SpeechProgram:
    """The recognizer's program, exported where the work folder does not have it.

    Args:
        key: of the checkpoint, see `Stages.walk`.

    Raises:
        UsageError, CorpusError, DelegationError, TieError: see `export_speech` and `TrainingData.calibration_clips`.
    """
    plan = recipe.plan
    static = plan.activations == "static"
    # ranges are measured on the corpus, and on nothing else of the export it has an influence
    inputs = (
        key,
        key_of(plan),
        dict(recipe.corpus) if static else None,
        key_of(recipe.chunking) if checkpoint.dims.ctc else None,
    )
    folder = stages.folder("export", *inputs)
    facts = folder / "export.json"
    if facts.is_file():
        stages.progress("export", 1.0, "unchanged")
        program = SpeechProgram((folder / "model.pte").read_bytes(), **json.loads(facts.read_text()))
    else:
        stages.progress("export", None, "")
        began = time.monotonic()
        found = data.calibration_clips(checkpoint.vocabulary, STATIC_CLIPS) if static else []
        program = export_speech(
            checkpoint, plan, _sample(), calibration.with_tokens(found, checkpoint.vocabulary), recipe.chunking
        )
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.pte").write_bytes(program.data)
        write_json(
            folder / REPORT,
            {"seconds": round(time.monotonic() - began, 1), "report": plain(report(checkpoint.network(), plan))},
        )
        write_json(facts, {"methods": program.methods, "constants": program.constants, "parity": program.parity})
        stages.progress("export", 1.0, f"{len(program.data) / 1e6:.1f} MB")
    stages.note("export", checkpoint.parameters, len(program.data), folder)
    return program


def _sample() -> np.ndarray | None:
    """A few seconds of the repository's own speech for the parity report."""
    import soundfile

    return soundfile.read(LETTER, dtype="float32", stop=10 * SAMPLE_RATE)[0] if LETTER.is_file() else None


def export_vad_program(stages: Stages) -> bytes:
    """The voice activity detector's program, exported where the work folder does not have it."""
    path = stages.folder("vad", hashlib.sha256(weights_path().read_bytes()).hexdigest()) / "vad.pte"
    if path.is_file():
        stages.progress("vad", 1.0, "unchanged")
        return path.read_bytes()
    stages.progress("vad", None, "")
    data = export_vad(load_silero())
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    temporary.write_bytes(data)
    temporary.replace(path)
    stages.progress("vad", 1.0, f"{len(data) / 1e6:.1f} MB")
    return data
