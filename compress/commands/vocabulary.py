"""`device-asr-compress vocabulary`: a table of vocabulary sizes."""

from __future__ import annotations

from pathlib import Path

import click

from compress.commands import options
from compress.evaluate.accuracy import vocabulary_sizes
from device_asr.console import echo


@click.command("vocabulary")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--model", "source", default="tiny.en", show_default=True, help="Checkpoint to prune.")
@click.option("--size", "sizes", type=int, multiple=True, default=(5000, 8000, 12000, 16000, 50256), show_default=True)
@options.full_context(default=True)
def command(manifest: Path, source: str, sizes: tuple[int, ...], full_context: bool) -> None:
    """WER against vocabulary size, fp32, greedy, as a Markdown table."""
    for number, row in enumerate(vocabulary_sizes(source, manifest, sizes, full_context)):
        if not number:
            echo("| text tokens | parameters | WER % |\n|---|---|---|")
        echo(f"| {row.tokens} | {row.parameters / 1e6:.1f} M | {100 * row.wer:.2f} |")
