"""The table of techniques: each point a recipe after the shipped one's stages, built, and measured through the runtime.

A row of points.jsonl stands for a bundle and the speech it was measured on; the same command goes on after the last.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compress.checkpoints.load import load_checkpoint
from compress.data.training_data import Progress, TrainingData
from compress.networks.checkpoint import Checkpoint
from compress.paths import ABLATION
from compress.recipe.build import beginning, build
from compress.recipe.cache import Stages
from compress.recipe.recipe import Recipe
from compress.report.ablation_table import PointsError, Row, read_rows, row_key, to_row, write_rows
from compress.settings import refuse_renamed
from compress.tables import figure
from device_asr.errors import DeviceAsrError, OutputError, UsageError

POINTS = ABLATION
LEDGER, BUNDLES = "points.jsonl", "points"  # in the work folder
ALL, START, NONE = "all", "start", "none"

Measure = Callable[[Path], Mapping[str, Any]]  # a bundle -> the record of `profile.bench`


@dataclass(frozen=True)
class Point:
    """A row of the table to be: what is built.

    shared: the first stages of the shipped recipe, which points have in common. recipe: the point's own
    stages after them, with the clips they learn from, and how it is quantized.
    """

    shared: Recipe
    recipe: Recipe

    @property
    def name(self) -> str:
        """Of its row and of its bundle."""
        return self.recipe.name


def read_point(path: Path, base: Recipe) -> Point:
    """A point from TOML: name, description, shared, and if need be [corpus], [[stages]], [stream] and [quantize].

    shared: "all" stages of `base`, those up to the first of that name, "start": none, but what `base` begins with, or
    "none": the point begins with the teacher. corpus, stream, quantize: as in `base` where left out.

    Raises:
        UsageError: unreadable, unknown or missing keys, a stage that is not in `base`.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"Point {path} cannot be read: {error}.") from None
    refuse_renamed("recipe", values, f"Point {path}")
    names = [table["do"] for table in base.stages]
    until = values.pop("shared", None)
    counts = {ALL: len(names), START: 0, NONE: 0}
    if until not in (*counts, *names):
        near = difflib.get_close_matches(str(until), names, 1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise UsageError(
            f"Point {path}: wanted shared = {ALL}, {START}, {NONE} or a stage of {base.name} "
            f"({', '.join(names)}), found {until!r}{hint}"
        )
    count = counts[until] if until in counts else names.index(until) + 1
    given = {
        "teacher": base.teacher,
        "language": base.language,
        "corpus": base.corpus,
        "quantize": base.quantize,
        "stream": base.stream,
    }
    given["start"] = None if until == NONE else base.start
    try:
        return Point(replace(base, stages=base.stages[:count], start=given["start"]), Recipe(**{**given, **values}))
    except TypeError as error:
        raise UsageError(
            f"Point {path}: wanted the keys name, description, shared, corpus, stages, stream and quantize ({error})."
        ) from None


def read_points(base: Recipe, folder: Path = POINTS) -> list[Point]:
    """The points of a folder in the order of its files' names.

    Raises:
        UsageError: none, or two of one name; see `read_point`.
    """
    points = [read_point(path, base) for path in sorted(folder.glob("*.toml"))]
    names = [point.name for point in points]
    if not names or len(set(names)) < len(names):
        raise UsageError(f"{folder}: wanted TOML files of points with a name each, found {', '.join(names) or 'none'}.")
    return points


# -- building ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Maker:
    """Builds points; stages, labels and bundles are kept in `work`. corpus, noise: see `build`."""

    work: Path
    corpus: Path | None
    noise: Path | None

    def bundle(self, name: str) -> Path:
        """Where the bundle of a point is."""
        return self.work / BUNDLES / name

    def __call__(self, point: Point, progress: Progress) -> int:
        """Builds the bundle, and says how many of its network's parameters are not zero.

        Raises: see `build`.
        """
        checkpoint, key = self.network(point, progress)
        own, shared = point.recipe, point.shared
        if own.corpus == shared.corpus or not (shared.stages or own.stages):
            recipe = replace(own, stages=(*shared.stages, *own.stages))
        else:  # a build learns from one set of clips, so it begins with the result
            recipe = replace(own, teacher=str(self.work / key), start=None, stages=())
        out = self.bundle(point.name)
        out.parent.mkdir(parents=True, exist_ok=True)
        build(recipe, out, self.work, self.corpus, self.noise, progress)
        return sum(int(tensor.count_nonzero()) for tensor in checkpoint.learned.values())

    def last_stage(self, recipe: Recipe, progress: Progress) -> Checkpoint:
        """The network of a recipe before quantization; what is not yet in this work folder is made."""
        return self.network(Point(recipe, replace(recipe, stages=())), progress)[0]

    def network(self, point: Point, progress: Progress) -> tuple[Checkpoint, str]:
        """The network before quantization, and the key of its last stage, see `Stages.walk`.

        A point begins with what a build has made in this work folder, and a build with what a point has.
        """
        teacher = load_checkpoint(point.shared.teacher)
        stages = Stages(self.work, progress)
        checkpoint, key = beginning(point.shared, teacher)
        zeros_stay = False
        for recipe in (point.shared, point.recipe):
            data = TrainingData(teacher, recipe.corpus, self.corpus, self.noise, self.work / "labels", progress)
            data.zeros_stay = zeros_stay
            checkpoint, key = stages.walk(recipe.stages, recipe.corpus, data, checkpoint, key)
            zeros_stay = data.zeros_stay
        return checkpoint, key


# -- the run -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """What a run has: a row a point that is measured, in the points' order; name -> why of those that failed."""

    rows: tuple[Row, ...]
    failed: Mapping[str, str]

    def check(self) -> None:
        """Raises PointsError where a point failed."""
        if self.failed:
            why = "; ".join(f"{name}: {reason.rstrip('.')}" for name, reason in self.failed.items())
            raise PointsError(f"The table lacks what failed: {why}. The same command tries that again.")


def compare(
    points: Sequence[Point],
    only: Sequence[str],
    make: Maker,
    measure: Measure,
    manifest: Path,
    threads: int,
    progress: Progress,
) -> Comparison:
    """Builds and measures each point that is not yet; one that fails does not stop the others.

    Args:
        only: names of the points to see to, the rows of others stay; none: all.
        make: called with a point; its bundle is then at `make.bundle(name)`.
        measure: called with a bundle that no row stands for.
        manifest, threads: what `measure` measures with.

    Raises:
        UsageError: no such manifest or point. TableError, OutputError: the rows cannot be read or written.
    """
    names = [point.name for point in points]
    for name in only:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise UsageError(f"No point {name!r}: wanted one of {', '.join(names)}{hint}")
    if not manifest.is_file():
        raise UsageError(f"Manifest {manifest} does not exist; wanted JSON lines of speech with texts to measure on.")
    make.work.mkdir(parents=True, exist_ok=True)
    rows, failed = read_rows(make.work / LEDGER), {}
    chosen = [point for point in points if not only or point.name in only]
    for number, point in enumerate(chosen, 1):
        bundle, title = make.bundle(point.name), f"{number}/{len(chosen)} {point.name}"

        def tell(stage: str, fraction: float | None, note: str, title: str = title) -> None:
            progress(f"{title}: {stage}", fraction, note)

        try:
            nonzero = make(point, tell)
            key = row_key(bundle, manifest, threads)
            if key not in rows:
                tell("bench", None, "")
                rows[key] = to_row(key, bundle, nonzero, measure(bundle))
                write_rows(rows.values(), make.work / LEDGER)
            tell("done", 1.0, f"{rows[key].bytes / 1e6:.1f} MB, WER {figure(rows[key].wer, 100, '.1f')} %")
        except OutputError:
            raise  # no room for a row: none for the others either
        except Exception as error:  # of a library too: hours of the other points are not lost to one
            failed[point.name] = _sentence(error)
            tell("failed", 1.0, failed[point.name])
    keys = [
        row_key(make.bundle(name), manifest, threads)
        for name in names
        if (make.bundle(name) / "manifest.json").is_file()
    ]
    return Comparison(tuple(rows[key] for key in keys if key in rows), failed)


def _sentence(error: Exception) -> str:
    """What failed in one line: a library's message may go on for pages."""
    said = str(error).strip().splitlines() or [""]
    return str(error) if isinstance(error, DeviceAsrError) else f"{type(error).__name__}: {said[0]}"
