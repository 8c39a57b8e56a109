"""`device-asr-compress`: the offline stage on the command line."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from pathlib import Path

import click

from compress.checkpoints.load import load_checkpoint
from compress.commands.streaming import chunk_table, cost_growth
from compress.commands.terminal import progress as _progress
from compress.paths import RECIPES
from device_asr.errors import DeviceAsrError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def group() -> None:
    """Makes small int8 models out of large teachers."""


@group.command()
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    default=RECIPES / "en-tiny.toml",
    show_default="en-tiny",
    help="TOML file: what to build.",
)
@click.option(
    "--teacher",
    help="tiny.en, a CTranslate2 or Hugging Face folder, an OpenAI .pt, or a bundle's base; overrides the recipe.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the bundle.")
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default=Path("work"),
    show_default=True,
    help="Folder for the results of stages; a build that was cut goes on from there.",
)
@click.option("--corpus", type=click.Path(path_type=Path), help="Folder of <name>.jsonl manifests for distillation.")
@click.option("--noise", type=click.Path(path_type=Path), help="Folder of background recordings for augmentation.")
def build(recipe: Path, teacher: str | None, out: Path, work: Path, corpus: Path | None, noise: Path | None) -> None:
    """Teacher weights to a bundle: the recipe's stages in their order, quantize, export."""
    from dataclasses import replace

    from compress.recipe.build import build as run
    from compress.recipe.recipe import read_recipe

    wanted = read_recipe(recipe)
    run(replace(wanted, teacher=teacher, start=None) if teacher else wanted, out, work, corpus, noise, _progress)


@group.command("vocabulary")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--model", "source", default="tiny.en", show_default=True, help="Checkpoint to prune.")
@click.option("--size", "sizes", type=int, multiple=True, default=(5000, 8000, 12000, 16000, 50256), show_default=True)
@click.option("--full-context/--short-context", default=True, help="Pad clips to 30 s, or not at all.")
def vocabulary_table(manifest: Path, source: str, sizes: tuple[int, ...], full_context: bool) -> None:
    """WER against vocabulary size, fp32, greedy, as a Markdown table."""
    from compress.evaluate.accuracy import vocabulary_sizes

    for number, row in enumerate(vocabulary_sizes(source, manifest, sizes, full_context)):
        if not number:
            click.echo("| text pieces | parameters | WER % |\n|---|---|---|")
        click.echo(f"| {row.tokens} | {row.parameters / 1e6:.1f} M | {100 * row.wer:.2f} |")


@group.command()
@click.option("--new", "name", metavar="NAME", help="Measure this machine with the shipped model, and write NAME.toml.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write.  [default: NAME.toml]")
@click.option("--threads", type=click.IntRange(1, 64), default=2, show_default=True, help="Of the recognizer.")
@click.option("--audio", type=click.Path(path_type=Path), help="Speech to measure with.  [default: assets/letter.flac]")
def profile(name: str | None, out: Path | None, threads: int, audio: Path | None) -> None:
    """List the device profiles, or measure this machine into a new one."""
    from compress.search import device_profile

    if name is None:
        for known in device_profile.shipped():
            click.echo(device_profile.to_toml(device_profile.load(known)))
        return
    from compress.search.profile import LETTER, this_machine

    _progress("measuring", None, "")
    measured = this_machine(name, threads, audio=audio or LETTER)
    path = out or Path(f"{name}.toml")
    device_profile.save(measured, path)
    _progress("measuring", 1.0, str(path))
    click.echo(device_profile.to_toml(measured), nl=False)


@group.command()
@click.option("--device", "device_name", required=True, help="laptop, rpi5, rpi4, or a file of `profile --new`.")
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    default=RECIPES / "device.toml",
    show_default="device",
    help="TOML file: settings that every trial keeps.",
)
@click.option(
    "--teacher",
    help="tiny.en, a CTranslate2 or Hugging Face folder, an OpenAI .pt, or a bundle's base; overrides the recipe.",
)
@click.option("--corpus", type=click.Path(path_type=Path), required=True, help="Folder of <name>.jsonl manifests.")
@click.option("--noise", type=click.Path(path_type=Path), help="Folder of background recordings for augmentation.")
@click.option(
    "--measure",
    default="librispeech-other-dev",
    show_default=True,
    metavar="NAME",
    help="Manifest of the corpus folder that trials are measured on, never trained on.",
)
@click.option("--clips", type=click.IntRange(min=1), help="Measure on its first so many clips.  [default: all]")
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default=Path("work/search"),
    show_default=True,
    help="Folder of the ledger, stages and bundles; the same command goes on.",
)
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Over all runs; those set aside by their estimated size do not count.",
)
@click.option("--seconds", type=click.FloatRange(min=1), help="No new trial after so many seconds, over all runs.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def search(
    device_name: str,
    recipe: Path,
    teacher: str | None,
    corpus: Path,
    noise: Path | None,
    measure: str,
    clips: int | None,
    work: Path,
    trials: int,
    seconds: float | None,
    seed: int,
    as_json: bool,
) -> None:
    """Find the best model that a device holds: trials over recipes, over-budget ones cut early."""
    from compress.search.device_profile import load

    device = load(device_name)
    from dataclasses import replace

    from compress.recipe.recipe import read_recipe
    from compress.search.trials import Trials, run

    base = read_recipe(recipe)
    base = replace(base, teacher=teacher, start=None) if teacher else base
    made = Trials(base, corpus / f"{measure}.jsonl", clips, corpus, noise, work, _progress)
    found = run(made, device, trials, seconds, seed, " ".join(["device-asr-compress", *sys.argv[1:]]))
    click.echo(json.dumps(found.to_json(), ensure_ascii=False, indent=1) if as_json else found.sentence)


@group.command()
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default=Path("work/search"),
    show_default=True,
    help="Folder of a search or build: ledger.jsonl, stages.json, sensitivity.json, metrics.jsonl of runs.",
)
@click.option("--device", "device_name", help="Scale times to this device and draw its budgets.")
@click.option("--bundle", type=click.Path(path_type=Path), help="Bundle whose card is shown.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=Path("report.html"), show_default=True)
def report(work: Path, device_name: str | None, bundle: Path | None, out: Path) -> None:
    """One self-contained HTML file: size, WER and latency of all trials, stages, sensitivity, training."""
    from compress.report.html import gather, write
    from compress.search.device_profile import load

    write(gather(work, load(device_name) if device_name else None, bundle), out)
    click.echo(str(out))


@group.command()
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    default=RECIPES / "en-tiny.toml",
    show_default="en-tiny",
    help="TOML file: the shipped recipe, whose stages the points have in common.",
)
@click.option("--corpus", type=click.Path(path_type=Path), required=True, help="Folder of <name>.jsonl manifests.")
@click.option("--noise", type=click.Path(path_type=Path), help="Folder of background recordings for augmentation.")
@click.option("--manifest", type=click.Path(path_type=Path), required=True, help="Speech to measure on.")
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default=Path("work"),
    show_default=True,
    help="Folder of stages, bundles and rows, also that of a build; the same command goes on.",
)
@click.option("--only", multiple=True, metavar="NAME", help="See to this point alone; may be given again.")
@click.option("--threads", type=click.IntRange(1, 64), default=2, show_default=True, help="Of the recognizer.")
@click.option(
    "--card",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File that gets the table too, between <!-- points --> and <!-- /points -->.",
)
@click.option("--readme", type=click.Path(dir_okay=False, path_type=Path), help="Another such file.")
def compare(
    recipe: Path,
    corpus: Path,
    noise: Path | None,
    manifest: Path,
    work: Path,
    only: tuple[str, ...],
    threads: int,
    card: Path | None,
    readme: Path | None,
) -> None:
    """Build and measure a point for every technique, and print them as a table."""
    import shlex

    from compress import tables
    from compress.recipe.recipe import read_recipe
    from compress.report import ablation as points
    from compress.report import ablation_table as points_table
    from compress.search.profile import bench, processor

    files = tables.places(points_table.NAME, card, readme)
    found = points.compare(
        points.read_points(read_recipe(recipe)),
        only,
        points.Maker(work, corpus, noise),
        lambda bundle: bench(str(bundle), manifest, threads),
        manifest,
        threads,
        _progress,
    )
    given = {"--corpus": corpus, **({"--noise": noise} if noise else {}), "--manifest": manifest}
    command = shlex.join(["device-asr-compress", "compare", *(str(word) for pair in given.items() for word in pair)])
    heard = points_table.heard(found.rows, manifest, threads, processor())
    markdown = points_table.table(found.rows, heard, command)
    tables.put_table(files, points_table.NAME, markdown)
    click.echo(markdown)
    found.check()


group.add_command(chunk_table)
group.add_command(cost_growth)


@group.command("sensitivity")
@click.argument("model")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default=Path("work"),
    show_default=True,
    help="Folder of sensitivity.json, for the report; what was measured is kept there.",
)
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    default=RECIPES / "en-tiny.toml",
    show_default="en-tiny",
    help="TOML file: its [quantize] is the plan.",
)
@click.option(
    "--bits", type=click.Choice(["8", "32"]), default="32", show_default=True, help="What a group of layers is given."
)
@click.option("--each-layer", is_flag=True, help="Every layer by itself, not blocks such as an attention's four.")
@click.option("--clips", type=click.IntRange(min=1), default=32, show_default=True, help="Of the manifest, the first.")
@click.option("--full-context/--short-context", default=False, help="Pad clips to 30 s, or not at all.")
@click.option(
    "--spend",
    type=click.FloatRange(min=0),
    metavar="KB",
    help="Print the plan, too, that spends so many more kilobytes where most words are saved.",
)
def sensitivity_table(
    model: str,
    manifest: Path,
    work: Path,
    recipe: Path,
    bits: str,
    each_layer: bool,
    clips: int,
    full_context: bool,
    spend: float | None,
) -> None:
    """WER saved by more bits for one group of layers at a time, as a Markdown table; guard-free, greedy."""
    from compress.evaluate.accuracy import accuracy
    from compress.quantize.quantize import Width
    from compress.recipe.cache import write_json
    from compress.recipe.recipe import read_recipe
    from compress.report import sensitivity_table
    from compress.report.html import SENSITIVITY
    from compress.report.sensitivity import block, layer, mixed_plan, sensitivity
    from device_asr.metrics.clips import read_manifest

    checkpoint, plan = load_checkpoint(model), read_recipe(recipe).plan
    heard = [clip for clip in read_manifest(manifest) if clip.text][:clips]
    evaluate = sensitivity_table.kept(
        lambda network: accuracy(network, checkpoint.vocabulary, heard, full_context).wer,
        work,
        json.dumps([str(manifest), [[str(clip.audio), clip.text] for clip in heard], full_context]),
    )
    rows = sensitivity(
        checkpoint,
        plan,
        evaluate,
        width=Width(int(bits)),
        group=layer if each_layer else block,
        progress=lambda row, done, of: _progress("sensitivity", done / of, f"{row.name}: {100 * row.gain:+.2f} points"),
    )
    work.mkdir(parents=True, exist_ok=True)
    write_json(work / SENSITIVITY, sensitivity_table.to_json(rows))
    click.echo(sensitivity_table.markdown(rows))
    if spend is not None:
        mixed = mixed_plan(plan, rows, round(1000 * spend))
        click.echo("\n" + sensitivity_table.to_toml(mixed.to_table()))


def _quiet() -> None:
    """Keeps notes of libraries to their own developers off the screen; warnings of ours stay."""
    for name in ("torchao", "torch.utils._pytree"):  # kernels for other processors; pytree registrations
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", "`isinstance\\(treespec, LeafSpec\\)` is deprecated", FutureWarning)


def main() -> None:
    """Runs the command; a failure is one sentence and an exit code."""
    _quiet()
    try:
        group.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        print("Stopped; run the same command to go on.", file=sys.stderr)
        sys.exit(130)
    except DeviceAsrError as error:
        print(f"device-asr-compress: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"device-asr-compress: {where}{error.strerror or error}; nothing was replaced.", file=sys.stderr)
        sys.exit(1)
