"""From a teacher to a bundle: stages whose inputs have not changed are not run again."""

from __future__ import annotations

from pathlib import Path

from compress.checkpoints.load import load_checkpoint
from compress.data.training_data import Progress, TrainingData
from compress.networks.checkpoint import Checkpoint
from compress.recipe.bundle import check_out, write_bundle
from compress.recipe.cache import FLOAT_BYTES, Stages, origin
from compress.recipe.export import export_programs, export_vad_program
from compress.recipe.recipe import Recipe


def build(recipe: Recipe, out: Path, work: Path, corpus: Path | None, noise: Path | None, progress: Progress) -> Path:
    """Runs every stage and writes the bundle to `out`, replacing it whole, its base beside it.

    The same recipe, teacher and clips make the same bytes in any folder, on one machine with the same number
    of threads. Another processor, number of threads or version of torch adds in another order: weights that
    were trained then differ, and the manifest's checksums with them. A training that was cut ends in the
    weights of one that was not.

    Args:
        work: where stages keep their results; a build that was cut goes on from there. A result is found again
            only where the stages before it, all of its settings and `CACHE_VERSION` are the same: results that an
            earlier version of this program left there are not found, and are made anew.
        corpus: folder with <name>.jsonl manifests, needed where the recipe learns from clips.
        noise: folder of background recordings for augmentation; None: none.

    Raises:
        UsageError, CheckpointError, CorpusError, TrainingError, BudgetError, DelegationError, TieError,
            OutputError: one sentence each.
    """
    check_out(out)
    stages = Stages(work, progress)
    teacher = load_checkpoint(recipe.teacher)
    data = TrainingData(teacher, recipe.corpus, corpus, noise, work / "labels", progress)
    stages.note("teacher", teacher.parameters, FLOAT_BYTES * teacher.parameters)
    first, key = beginning(recipe, teacher)
    checkpoint, key = stages.walk(recipe.stages, recipe.corpus, data, first, key)
    speech = export_programs(stages, checkpoint, recipe, data, key)
    vad = export_vad_program(stages)
    progress("bundle", None, "")
    write_bundle(recipe, checkpoint, speech, vad, out)
    progress("bundle", 1.0, str(out))
    return out


def beginning(recipe: Recipe, teacher: Checkpoint) -> tuple[Checkpoint, str]:
    """What the stages of a recipe begin with, and its key.

    Raises:
        CheckpointError: `start` is missing or broken.
    """
    if recipe.start is None:
        return teacher, origin(recipe.teacher)
    return load_checkpoint(recipe.start), origin(recipe.start)
