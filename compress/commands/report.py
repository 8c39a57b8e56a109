"""`device-asr-compress report`: one HTML file about a work folder."""

from __future__ import annotations

from pathlib import Path

import click

from compress.commands import options
from compress.report.html import write
from compress.report.inputs import gather
from compress.search.device_profile import load
from device_asr.console import echo


@click.command("report")
@options.work(
    "work/search", "of a search or build: ledger.jsonl, stages.jsonl, sensitivity.jsonl, metrics.jsonl of runs"
)
@click.option("--device", "device_name", help="Scale times to this device and draw its budgets.")
@click.option("--bundle", type=click.Path(path_type=Path), help="Bundle whose card is shown.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=Path("report.html"), show_default=True)
def command(work: Path, device_name: str | None, bundle: Path | None, out: Path) -> None:
    """One self-contained HTML file: size, WER and latency of all trials, stages, sensitivity, training."""
    write(gather(work, load(device_name) if device_name else None, bundle), out)
    echo(str(out))
