"""`device-asr-compress chunk-sweep`: the table of chunk sizes and contexts."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import click

from compress import tables
from compress.checkpoints.load import load_checkpoint
from compress.commands import options
from compress.commands.terminal import progress
from compress.recipe.recipe import read_recipe
from compress.report import chunk_sweep
from compress.report.ablation import Builder
from compress.search.profile import processor
from device_asr.audio.format import SAMPLE_RATE
from device_asr.bench.suite import read_test_sets
from device_asr.bundle.bundle import load
from device_asr.console import FiniteRange, echo

LEFT_CONTEXTS = (2.5, 5.0)  # s


@dataclass(frozen=True)
class Options:
    """The options of the verb; their meaning is in its help."""

    source: str | None
    recipe: Path
    corpus: Path | None
    noise: Path | None
    model: str
    manifests: tuple[Path, ...]
    clips: int | None
    chunks: tuple[float, ...]
    look_aheads: tuple[float, ...]
    left_contexts: tuple[float, ...]
    threads: int
    work: Path
    card: Path | None
    readme: Path | None

    @property
    def typed(self) -> str:
        """The command that makes the same table."""
        given: list[tuple[str, object]] = [
            ("--checkpoint", self.source),
            ("--corpus", self.corpus),
            ("--noise", self.noise),
            ("--clips", self.clips),
        ]
        given = [pair for pair in given if pair[1]] + [("--manifest", path) for path in self.manifests]
        for option, values, usual in (
            ("--chunk", self.chunks, ()),
            ("--look-ahead", self.look_aheads, ()),
            ("--left-context", self.left_contexts, LEFT_CONTEXTS),
        ):
            given += [(option, f"{value:g}") for value in values if values != usual]
        return shlex.join(["device-asr-compress", "chunk-sweep", *(str(word) for pair in given for word in pair)])


@click.command("chunk-sweep")
@click.option(
    "--checkpoint",
    "source",
    metavar="FOLDER",
    help="Network with a CTC head.  [default: the recipe's last stage in the work folder]",
)
@options.recipe("en-tiny", "its stages, and how it quantizes")
@click.option("--corpus", type=click.Path(path_type=Path), help="Folder of <name>.jsonl manifests of the recipe.")
@click.option("--noise", type=click.Path(path_type=Path), help="Folder of background recordings of the recipe.")
@click.option("--model", default="en-tiny", show_default=True, help="The bundle that was made of the checkpoint.")
@click.option(
    "--manifest",
    "manifests",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="Speech to measure on; may be given again.",
)
@click.option(
    "--clips", type=click.IntRange(min=1), help="Only the first so many clips of each manifest.  [default: all]"
)
@click.option(
    "--chunk",
    "chunks",
    type=FiniteRange(),
    multiple=True,
    metavar="MS",
    help="Whole positions; may be given again.  [default: about 160, 320 and 640]",
)
@click.option(
    "--look-ahead",
    "look_aheads",
    type=FiniteRange(min=0),
    multiple=True,
    metavar="MS",
    help="A chunk attends to so much after itself, rounded up to whole chunks; may be given again.  "
    "[default: about 320 and 640]",
)
@click.option(
    "--left-context",
    "left_contexts",
    type=FiniteRange(),
    multiple=True,
    default=LEFT_CONTEXTS,
    show_default=True,
    metavar="SECONDS",
    help="A chunk attends to so much before itself; may be given again.",
)
@options.threads(1)
@options.work("work", "of stages and rows; the same command goes on")
@options.table_files(chunk_sweep.NAME)
@options.takes(Options)
def command(given: Options) -> None:
    """WER, latency and cost of partials by chunk size and context, beside those of encoding the utterance again."""
    files = tables.places(chunk_sweep.NAME, given.card, given.readme)
    bundle, base = load(given.model), read_recipe(given.recipe)
    position = bundle.manifest["speech"]["samples_per_position"] / SAMPLE_RATE
    usual = chunk_sweep.usual_chunks(position)
    wanted = chunk_sweep.variants(given.chunks or usual, given.left_contexts, given.look_aheads or usual[1:], position)
    test_sets = read_test_sets(given.manifests, given.clips)
    if given.source:
        checkpoint = load_checkpoint(given.source)
    else:
        checkpoint = Builder(given.work, given.corpus, given.noise).last_stage(base, progress)
    sweep = chunk_sweep.ChunkSweep(checkpoint, base.plan, bundle, given.threads, given.work, progress)
    rows = sweep.run(wanted, test_sets)
    measured_on = f"{given.threads} thread(s) of {processor()}, decoder of {bundle.name}"
    markdown = chunk_sweep.table(rows, measured_on, given.typed)
    tables.put_table(files, chunk_sweep.NAME, markdown)
    echo(markdown)
