"""`device-asr-compress build`: a bundle, by a recipe."""

from __future__ import annotations

from pathlib import Path

import click

from compress.commands import options
from compress.commands.terminal import progress
from compress.recipe.build import build


@click.command("build")
@options.recipe("en-tiny", "what to build")
@options.teacher
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the bundle.")
@options.work("work", "for the results of stages; a build that was cut goes on from there")
@options.corpus
@options.noise
def command(recipe: Path, teacher: str | None, out: Path, work: Path, corpus: Path | None, noise: Path | None) -> None:
    """Make a bundle of a teacher: the recipe's stages in their order, quantization, export."""
    build(options.recipe_of(recipe, teacher), out, work, corpus, noise, progress)
