"""`device-asr-compress cost-by-length`: a figure of what partials cost by utterance length."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from compress import tables
from compress.commands import options
from compress.commands.terminal import progress
from compress.report import cost_by_length
from device_asr.bench.suite import read_test_sets
from device_asr.bundle.bundle import load
from device_asr.config import load as load_config
from device_asr.console import FiniteRange, echo


@click.command("cost-by-length")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--model", default="en-tiny", show_default=True, help="A bundle with the method stream.")
@options.threads(1)
@click.option("--seconds", type=FiniteRange(min=10), default=600, show_default=True, help="At most so much speech.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("cost-by-length.svg"),
    show_default=True,
    help="The figure; its data go beside it as .json.",
)
def command(manifest: Path, model: str, threads: int, seconds: float, out: Path) -> None:
    """Draw the cost of partials by utterance length: both policies over clips joined without a pause."""
    (test_set,) = read_test_sets([manifest], None)
    edges = [edge for edge in cost_by_length.EDGES if edge <= seconds]
    config = load_config(Path(os.devnull), {}, {"model.name": model, "model.threads": threads}).config
    found = cost_by_length.measure(
        load(model),
        config,
        test_set.clips,
        edges,
        lambda mode, mark: progress(mode, mark.at / edges[-1], f"{mark.at:.0f} s"),
    )
    tables.write(out.with_suffix(".json"), json.dumps({"manifest": manifest.name, **found}, indent=1) + "\n")
    tables.write(out, cost_by_length.draw(found))
    for mode, rows in found["policies"].items():
        costs = ", ".join(f"{row['to']:g} s {1000 * row['partials']:.1f}" for row in rows)
        echo(f"{mode}: {costs} ms a second of audio")
