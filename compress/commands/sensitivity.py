"""`device-asr-compress sensitivity`: which layers suffer from few bits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import click

from compress.checkpoints.load import load_checkpoint
from compress.commands import options
from compress.commands.terminal import progress
from compress.evaluate.accuracy import accuracy
from compress.evaluate.measurement import write_rows
from compress.quantize.plan import Width
from compress.recipe.recipe import read_recipe
from compress.report import sensitivity_table
from compress.report.sensitivity import block, layer, mixed_plan, sensitivity
from device_asr.console import FiniteRange, echo
from device_asr.metrics.clips import read_manifest


@dataclass(frozen=True)
class Options:
    """The options of the verb; their meaning is in its help."""

    model: str
    manifest: Path
    work: Path
    recipe: Path
    bits: str
    each_layer: bool
    clips: int
    full_context: bool
    spend: float | None


@click.command("sensitivity")
@click.argument("model")
@click.argument("manifest", type=click.Path(path_type=Path))
@options.work("work", "of sensitivity.jsonl, for the report; what was measured is kept there")
@options.recipe("en-tiny", "its [quantize] is the plan")
@click.option(
    "--bits",
    type=click.Choice(["8", "32"]),
    default="32",
    show_default=True,
    help="The width that a group of layers is given.",
)
@click.option("--each-layer", is_flag=True, help="Every layer by itself, not blocks such as an attention's four.")
@click.option(
    "--clips",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Only the first so many clips of the manifest.",
)
@options.full_context(default=False)
@click.option(
    "--spend",
    type=FiniteRange(min=0),
    metavar="KB",
    help="Print the plan, too, that spends so many more kilobytes where most words are saved.",
)
@options.takes(Options)
def command(given: Options) -> None:
    """WER saved by more bits for one group of layers at a time, as a Markdown table; greedy, without guards."""
    checkpoint = load_checkpoint(given.model)
    plan = read_recipe(given.recipe).plan
    clips = [clip for clip in read_manifest(given.manifest) if clip.text][: given.clips]
    evaluate = sensitivity_table.kept(
        lambda network: accuracy(network, checkpoint.vocabulary, clips, given.full_context).wer,
        given.work,
        json.dumps([str(given.manifest), [[str(clip.audio), clip.text] for clip in clips], given.full_context]),
    )
    rows = sensitivity(
        checkpoint,
        plan,
        evaluate,
        width=Width(int(given.bits)),
        group=layer if given.each_layer else block,
        progress=lambda row, done, of: progress("sensitivity", done / of, f"{row.name}: {100 * row.gain:+.2f} points"),
    )
    given.work.mkdir(parents=True, exist_ok=True)
    write_rows(sensitivity_table.to_measurements(rows), given.work / sensitivity_table.SENSITIVITY)
    echo(sensitivity_table.markdown(rows))
    if given.spend is not None:
        mixed = mixed_plan(plan, rows, round(1000 * given.spend), checkpoint.family_of().embedding)
        echo("\n" + sensitivity_table.to_toml(mixed.to_table()))
