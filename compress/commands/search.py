"""`device-asr-compress search`: trials over recipes under a device's budgets."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from compress.commands import options
from compress.commands.terminal import progress
from compress.search.device_profile import load
from compress.search.search import Plan
from compress.search.trials import Trials, run
from device_asr.console import FiniteRange, echo


@dataclass(frozen=True)
class Options:
    """The options of the verb; their meaning is in its help."""

    device: str
    recipe: Path
    teacher: str | None
    corpus: Path
    noise: Path | None
    measure: str
    clips: int | None
    work: Path
    storage: str | None
    trials: int
    seconds: float | None
    seed: int
    as_json: bool


@click.command("search")
@click.option("--device", required=True, help="laptop, rpi5, rpi4, or a file of `profile --new`.")
@options.recipe("device", "settings that every trial keeps")
@options.teacher
@options.needed_corpus
@options.noise
@click.option(
    "--measure",
    default="librispeech-other-dev",
    show_default=True,
    metavar="NAME",
    help="Manifest of the corpus folder that trials are measured on, never trained on.",
)
@click.option("--clips", type=click.IntRange(min=1), help="Measure on its first so many clips.  [default: all]")
@options.work("work/search", "of the ledger, stages and bundles; the same command goes on")
@click.option(
    "--storage",
    metavar="FILE|URL",
    help="Keep the trials in this journal file or database instead, so that several machines work on one search, each "
    "with a --work of its own.  [default: in --work]",
)
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Over all runs; those set aside by their estimated size do not count.",
)
@click.option("--seconds", type=FiniteRange(min=1), help="No new trial after so many seconds, over all runs.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@options.takes(Options)
def command(given: Options) -> None:
    """Find the best model that a device holds: trials over recipes, over-budget ones cut early."""
    device, base = load(given.device), options.recipe_of(given.recipe, given.teacher)
    manifest = given.corpus / f"{given.measure}.jsonl"
    made = Trials(base, manifest, given.clips, given.corpus, given.noise, given.work, progress)
    typed = " ".join(["device-asr-compress", *sys.argv[1:]])
    found = run(made, device, Plan(given.trials, given.seconds, {}, given.seed, given.storage), typed)
    echo(json.dumps(found.to_json(), ensure_ascii=False, indent=1) if given.as_json else found.sentence)
