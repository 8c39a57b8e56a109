"""`device-asr-compress`: the offline stage on the command line."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from device_asr.errors import DeviceAsrError

RECIPES = Path(__file__).parent / "recipes"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def group() -> None:
    """Makes small int8 models out of large teachers."""


@group.command()
@click.option("--recipe", type=click.Path(path_type=Path), default=RECIPES / "en-tiny.toml", show_default="en-tiny",
              help="TOML file: what to build.")
@click.option("--teacher", help="tiny.en, a CTranslate2 or Hugging Face folder, an OpenAI .pt; overrides the recipe.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the bundle.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("work"), show_default=True,
              help="Folder for the results of stages; a build that was cut goes on from there.")
@click.option("--corpus", type=click.Path(path_type=Path), help="Folder of <name>.jsonl manifests for distillation.")
@click.option("--noise", type=click.Path(path_type=Path), help="Folder of background sounds for augmentation.")
def build(recipe: Path, teacher: str | None, out: Path, work: Path, corpus: Path | None, noise: Path | None) -> None:
    """Teacher weights to a bundle: distil, prune the vocabulary, quantise, export."""
    from dataclasses import replace

    from compress.build import build as run
    from compress.build import read_recipe

    wanted = read_recipe(recipe)
    run(replace(wanted, teacher=teacher) if teacher else wanted, out, work, corpus, noise, _progress)


@group.command("vocabulary")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--model", "source", default="tiny.en", show_default=True, help="Checkpoint to prune.")
@click.option("--size", "sizes", type=int, multiple=True, default=(5000, 8000, 12000, 16000, 50256), show_default=True)
@click.option("--full-context/--short-context", default=True, help="Pad clips to 30 s, or not at all.")
def vocabulary_table(manifest: Path, source: str, sizes: tuple[int, ...], full_context: bool) -> None:
    """WER against vocabulary size, fp32, greedy, as a Markdown table."""
    from compress.evaluate import vocabulary_sizes

    click.echo("| text pieces | parameters | WER % |\n|---|---|---|")
    for row in vocabulary_sizes(source, manifest, sizes, full_context):
        click.echo(f"| {row.pieces} | {row.parameters / 1e6:.1f} M | {100 * row.wer:.2f} |")


def _progress(stage: str, fraction: float | None, note: str) -> None:
    """One live line on a terminal; in a pipe nothing but nothing."""
    if not sys.stderr.isatty():
        return
    done = "..." if fraction is None else f"{100 * fraction:3.0f} %"
    end = "\n" if fraction == 1.0 else ""
    print(f"\r\x1b[K{stage:<12} {done} {note}", end=end, file=sys.stderr, flush=True)


def main() -> None:
    """Runs the command; a failure is one sentence and an exit code."""
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
        print(f"device-asr-compress: {error.filename or ''} {error.strerror}; nothing was replaced.", file=sys.stderr)
        sys.exit(1)
