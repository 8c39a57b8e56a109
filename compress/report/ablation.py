"""Ablations: models that differ in one technique, each built after the shipped recipe's stages and measured.

A row of ablation.jsonl stands for a bundle and the speech it was measured on; the same command goes on after the last.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compress.checkpoints.load import load_checkpoint
from compress.data.training_data import Progress, TrainingData
from compress.evaluate.measurement import Measurement, read_rows, write_rows
from compress.networks.checkpoint import Checkpoint
from compress.paths import ABLATION
from compress.recipe.build import beginning, build
from compress.recipe.cache import Stages
from compress.recipe.recipe import Recipe
from compress.report.ablation_table import row_key, to_row
from compress.settings import read_table, refuse_renamed
from compress.tables import figure
from device_asr.errors import DeviceAsrError, OutputError, UsageError

LEDGER, BUNDLES = "ablation.jsonl", "ablation"  # in the work folder
ALL, START, NONE = "all", "start", "none"

Measure = Callable[[Path], Mapping[str, Any]]  # a bundle -> the record of `profile.bench`


class AblationError(DeviceAsrError):
    """Not every model of the table could be made."""


@dataclass(frozen=True)
class Ablation:
    """One model of the table: what is built.

    shared: the first stages of the shipped recipe, which ablations have in common. recipe: the model's own
    stages after them, with the clips they learn from, and how it is quantized.
    """

    shared: Recipe
    recipe: Recipe

    @property
    def name(self) -> str:
        """The name of its row and of its bundle."""
        return self.recipe.name


def read_ablation(path: Path, base: Recipe) -> Ablation:
    """An ablation from TOML: name, description, shared, and if need be [corpus], [[stages]], [stream], [quantize].

    shared: "all" stages of `base`, those up to the first of that name, "start": none, but what `base` begins with, or
    "none": the model begins with the teacher. corpus, stream, quantize: as in `base` where left out.

    Raises:
        UsageError: unreadable, unknown or missing keys, a stage that is not in `base`.
    """
    values = read_table(path, "Ablation")
    refuse_renamed("recipe", values, f"Ablation {path}")
    names = [table["do"] for table in base.stages]
    until = values.pop("shared", None)
    counts = {ALL: len(names), START: 0, NONE: 0}
    if until not in (*counts, *names):
        near = difflib.get_close_matches(str(until), names, 1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise UsageError(
            f"Ablation {path}: wanted shared = {ALL}, {START}, {NONE} or a stage of {base.name} "
            f"({', '.join(names)}), found {until!r}{hint}"
        )
    count = counts[until] if until in counts else names.index(until) + 1
    start = None if until == NONE else base.start
    given: dict[str, Any] = {
        "teacher": base.teacher,
        "language": base.language,
        "corpus": base.corpus,
        "quantize": base.quantize,
        "stream": base.stream,
        "start": start,
    }
    try:
        return Ablation(replace(base, stages=base.stages[:count], start=start), Recipe(**{**given, **values}))
    except TypeError as error:
        raise UsageError(
            f"Ablation {path}: wanted the keys name, description, shared, corpus, stages, stream and quantize "
            f"({error})."
        ) from None


def read_ablations(base: Recipe, folder: Path = ABLATION) -> list[Ablation]:
    """The ablations of a folder in the order of its files' names.

    Raises:
        UsageError: none, or two of one name; see `read_ablation`.
    """
    ablations = [read_ablation(path, base) for path in sorted(folder.glob("*.toml"))]
    names = [ablation.name for ablation in ablations]
    if not names or len(set(names)) < len(names):
        raise UsageError(
            f"{folder}: wanted TOML files of ablations with a name each, found {', '.join(names) or 'none'}."
        )
    return ablations


# -- building ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Builder:
    """Builds ablations; stages, labels and bundles are kept in `work`. corpus, noise: see `build`."""

    work: Path
    corpus: Path | None
    noise: Path | None

    def bundle(self, name: str) -> Path:
        """The folder of an ablation's bundle."""
        return self.work / BUNDLES / name

    def __call__(self, ablation: Ablation, progress: Progress) -> int:
        """Builds the bundle, and returns how many of its network's parameters are not zero.

        Raises: see `build`.
        """
        checkpoint, key = self.network(ablation, progress)
        own, shared = ablation.recipe, ablation.shared
        if own.corpus == shared.corpus or not (shared.stages or own.stages):
            recipe = replace(own, stages=(*shared.stages, *own.stages))
        else:  # a build learns from one set of clips, so it begins with the result
            recipe = replace(own, teacher=str(self.work / key), start=None, stages=())
        out = self.bundle(ablation.name)
        out.parent.mkdir(parents=True, exist_ok=True)
        build(recipe, out, self.work, self.corpus, self.noise, progress)
        return sum(int(tensor.count_nonzero()) for tensor in checkpoint.learned.values())

    def last_stage(self, recipe: Recipe, progress: Progress) -> Checkpoint:
        """The network of a recipe before quantization; what is not yet in this work folder is made."""
        return self.network(Ablation(recipe, replace(recipe, stages=())), progress)[0]

    def network(self, ablation: Ablation, progress: Progress) -> tuple[Checkpoint, str]:
        """The network before quantization, and the key of its last stage, see `Stages.walk`.

        An ablation begins with what a build has made in this work folder, and a build with what an ablation has.
        """
        teacher = load_checkpoint(ablation.shared.teacher)
        stages = Stages(self.work, progress)
        checkpoint, key = beginning(ablation.shared, teacher)
        zeros_stay = False
        for recipe in (ablation.shared, ablation.recipe):
            data = TrainingData(teacher, recipe.corpus, self.corpus, self.noise, self.work / "labels", progress)
            data.zeros_stay = zeros_stay
            checkpoint, key = stages.walk(recipe.stages, recipe.corpus, data, checkpoint, key)
            zeros_stay = data.zeros_stay
        return checkpoint, key


# -- the run -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ablated:
    """The result of a run.

    rows: of the models that are measured, in the ablations' order. failed: name -> reason.
    """

    rows: tuple[Measurement, ...]
    failed: Mapping[str, str]

    def check(self) -> None:
        """Raises AblationError where a model failed."""
        if self.failed:
            why = "; ".join(f"{name}: {reason.rstrip('.')}" for name, reason in self.failed.items())
            raise AblationError(f"The table lacks what failed: {why}. The same command tries that again.")


def ablate(
    ablations: Sequence[Ablation],
    only: Sequence[str],
    build: Builder,
    measure: Measure,
    manifest: Path,
    threads: int,
    progress: Progress,
) -> Ablated:
    """Builds and measures each ablation that is not yet; one that fails does not stop the others.

    Args:
        only: names of the ablations to build and measure, the rows of others stay; none: all.
        build: called with an ablation; its bundle is then at `build.bundle(name)`.
        measure: called with a bundle that no row stands for.
        manifest, threads: what `measure` measures with.

    Raises:
        UsageError: no such manifest or ablation. MeasurementError, OutputError: the rows cannot be read or written.
    """
    names = [ablation.name for ablation in ablations]
    for name in only:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise UsageError(f"No ablation {name!r}: wanted one of {', '.join(names)}{hint}")
    if not manifest.is_file():
        raise UsageError(f"Manifest {manifest} does not exist; wanted JSON lines of speech with texts to measure on.")
    build.work.mkdir(parents=True, exist_ok=True)
    rows = {row.key: row for row in read_rows(build.work / LEDGER)}
    failed: dict[str, str] = {}
    chosen = [ablation for ablation in ablations if not only or ablation.name in only]
    for number, ablation in enumerate(chosen, 1):
        bundle, title = build.bundle(ablation.name), f"{number}/{len(chosen)} {ablation.name}"

        def tell(stage: str, fraction: float | None, note: str, title: str = title) -> None:
            progress(f"{title}: {stage}", fraction, note)

        try:
            nonzero = build(ablation, tell)
            key = row_key(bundle, manifest, threads)
            if key not in rows:
                tell("bench", None, "")
                rows[key] = to_row(key, bundle, nonzero, measure(bundle))
                write_rows(rows.values(), build.work / LEDGER)
            tell("done", 1.0, f"{figure(rows[key].bytes, 1e-6, '.1f')} MB, WER {figure(rows[key].wer, 100, '.1f')} %")
        except OutputError:
            raise  # no room for a row: none for the others either
        except Exception as error:  # of a library too: hours of the other models are not lost to one
            failed[ablation.name] = _sentence(error)
            tell("failed", 1.0, failed[ablation.name])
    keys = [
        row_key(build.bundle(name), manifest, threads)
        for name in names
        if (build.bundle(name) / "manifest.json").is_file()
    ]
    return Ablated(tuple(rows[key] for key in keys if key in rows), failed)


def _sentence(error: Exception) -> str:
    """The failure in one line: a library's message may go on for pages."""
    said = str(error).strip().splitlines() or [""]
    return str(error) if isinstance(error, DeviceAsrError) else f"{type(error).__name__}: {said[0]}"
