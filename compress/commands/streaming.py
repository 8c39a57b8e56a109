"""The verbs that measure hearing in chunks: the table of chunk sizes, and the figure of growing cost."""

from __future__ import annotations

import json
from pathlib import Path

import click

from compress.checkpoints.load import load_checkpoint
from compress.commands.terminal import progress
from compress.paths import RECIPES

CHUNKS, AHEADS, PASTS = (160.0, 320.0, 640.0), (320.0, 640.0), (2.5, 5.0)  # ms, ms, s


@click.command("chunks")
@click.option(
    "--checkpoint",
    "source",
    metavar="FOLDER",
    help="Network with a CTC head.  [default: the recipe's last stage in the work folder]",
)
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    default=RECIPES / "en-tiny.toml",
    show_default="en-tiny",
    help="TOML file: its stages, and how it quantizes.",
)
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
@click.option("--clips", type=click.IntRange(min=1), help="Of each manifest, the first.  [default: all]")
@click.option(
    "--chunk",
    "chunks",
    type=float,
    multiple=True,
    default=CHUNKS,
    show_default=True,
    metavar="MS",
    help="May be given again.",
)
@click.option(
    "--ahead",
    "aheads",
    type=click.FloatRange(min=0),
    multiple=True,
    default=AHEADS,
    show_default=True,
    metavar="MS",
    help="What a chunk attends to after itself, up to whole chunks; may be given again.",
)
@click.option(
    "--past",
    "pasts",
    type=float,
    multiple=True,
    default=PASTS,
    show_default=True,
    metavar="SECONDS",
    help="What a chunk attends to before itself; may be given again.",
)
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Of the recognizer.")
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default=Path("work"),
    show_default=True,
    help="Folder of stages and rows; the same command goes on.",
)
@click.option(
    "--card",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File that gets the table too, between <!-- chunks --> and <!-- /chunks -->.",
)
@click.option("--readme", type=click.Path(dir_okay=False, path_type=Path), help="Another such file.")
def chunk_table(
    source: str | None,
    recipe: Path,
    corpus: Path | None,
    noise: Path | None,
    model: str,
    manifests: tuple[Path, ...],
    clips: int | None,
    chunks: tuple[float, ...],
    aheads: tuple[float, ...],
    pasts: tuple[float, ...],
    threads: int,
    work: Path,
    card: Path | None,
    readme: Path | None,
) -> None:
    """WER, latency and cost of partials by chunk size and past, beside those of encoding the utterance again."""
    import shlex

    from compress import tables
    from compress.recipe.recipe import read_recipe
    from compress.report import chunk_sweep as chunk_points
    from compress.report.ablation import Maker
    from compress.search.profile import processor
    from device_asr.bench.suite import read_test_sets
    from device_asr.bundle.bundle import load

    files = tables.places(chunk_points.NAME, card, readme)
    wanted = chunk_points.points(chunks, pasts, aheads)
    test_sets = read_test_sets(manifests, clips)
    bundle, base = load(model), read_recipe(recipe)
    checkpoint = load_checkpoint(source) if source else Maker(work, corpus, noise).last_stage(base, progress)
    made = chunk_points.Chunks(checkpoint, base.plan, bundle, threads, work, progress)
    rows = made.run(wanted, test_sets)
    given = [("--checkpoint", source), ("--corpus", corpus), ("--noise", noise), ("--clips", clips)]
    given = [pair for pair in given if pair[1]] + [("--manifest", path) for path in manifests]
    for option, values, usual in (("--chunk", chunks, CHUNKS), ("--ahead", aheads, AHEADS), ("--past", pasts, PASTS)):
        given += [(option, f"{value:g}") for value in values if values != usual]
    command = shlex.join(["device-asr-compress", "chunks", *(str(word) for pair in given for word in pair)])
    markdown = chunk_points.table(rows, f"{threads} thread(s) of {processor()}, decoder of {bundle.name}", command)
    tables.put_table(files, chunk_points.NAME, markdown)
    click.echo(markdown)


@click.command("growth")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--model", default="en-tiny", show_default=True, help="A bundle with the method stream.")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Of the recognizer.")
@click.option("--seconds", type=click.FloatRange(min=10), default=600, show_default=True, help="Of speech, at most.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("growth.svg"),
    show_default=True,
    help="The figure; its data go beside it as .json.",
)
def cost_growth(manifest: Path, model: str, threads: int, seconds: float, out: Path) -> None:
    """What partials cost the longer a person speaks: a figure of both policies over clips joined without a pause."""
    import os

    from compress import tables
    from compress.report import cost_by_length as growth
    from device_asr.bench.suite import read_test_sets
    from device_asr.bundle.bundle import load
    from device_asr.config import load as load_config

    (test_set,) = read_test_sets([manifest], None)
    edges = [edge for edge in growth.EDGES if edge <= seconds]
    config = load_config(Path(os.devnull), {}, {"model.name": model, "model.threads": threads}).config
    found = growth.measure(
        load(model),
        config,
        test_set.clips,
        edges,
        lambda mode, mark: progress(mode, mark.at / edges[-1], f"{mark.at:.0f} s"),
    )
    tables.write(out.with_suffix(".json"), json.dumps({"manifest": manifest.name, **found}, indent=1) + "\n")
    tables.write(out, growth.draw(found))
    for mode, rows in found["policies"].items():
        click.echo(
            f"{mode}: "
            + ", ".join(f"{row['to']:g} s {1000 * row['partials']:.1f}" for row in rows)
            + " ms a second of audio"
        )
