"""`device-asr-compress ablate`: the table of ablations."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import click

from compress import tables
from compress.commands import options
from compress.commands.terminal import progress
from compress.recipe.recipe import read_recipe
from compress.report import ablation_table
from compress.report.ablation import Builder, ablate, read_ablations
from compress.search.profile import bench, processor
from device_asr.console import echo


@dataclass(frozen=True)
class Options:
    """The options of the verb; their meaning is in its help."""

    recipe: Path
    corpus: Path
    noise: Path | None
    manifest: Path
    work: Path
    only: tuple[str, ...]
    threads: int
    card: Path | None
    readme: Path | None

    @property
    def typed(self) -> str:
        """The command that makes the same table."""
        given = {
            "--corpus": self.corpus,
            **({"--noise": self.noise} if self.noise else {}),
            "--manifest": self.manifest,
        }
        return shlex.join(["device-asr-compress", "ablate", *(str(word) for pair in given.items() for word in pair)])


@click.command("ablate")
@options.recipe("en-tiny", "the shipped recipe, whose stages the ablations have in common")
@options.needed_corpus
@options.noise
@click.option("--manifest", type=click.Path(path_type=Path), required=True, help="Speech to measure on.")
@options.work("work", "of stages, bundles and rows, also that of a build; the same command goes on")
@click.option("--only", multiple=True, metavar="NAME", help="Build and measure this one alone; may be given again.")
@options.threads(2)
@options.table_files(ablation_table.NAME)
@options.takes(Options)
def command(given: Options) -> None:
    """Build and measure a model for every technique, and print them as a table."""
    files = tables.places(ablation_table.NAME, given.card, given.readme)
    found = ablate(
        read_ablations(read_recipe(given.recipe)),
        given.only,
        Builder(given.work, given.corpus, given.noise),
        lambda bundle: bench(str(bundle), given.manifest, given.threads),
        given.manifest,
        given.threads,
        progress,
    )
    measured_on = ablation_table.measured_on(found.rows, given.manifest, given.threads, processor())
    markdown = ablation_table.table(found.rows, measured_on, given.typed)
    tables.put_table(files, ablation_table.NAME, markdown)
    echo(markdown)
    found.check()
