"""`device-asr doctor`: whether live dictation will keep up on this machine, and which settings it should have."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from device_asr.commands.parts.microphone import device_option, with_device
from device_asr.commands.parts.options import configured
from device_asr.commands.parts.progress import progress_bars
from device_asr.console import FiniteRange, echo
from device_asr.errors import UsageError

if TYPE_CHECKING:
    from device_asr.config import LoadedConfig
    from device_asr.doctor.check import Check
    from device_asr.doctor.report import Report


@click.command(name="doctor")
@click.option("--write", is_flag=True, help="Write the recommended settings to the config file.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@click.option("--no-microphone", is_flag=True, help="Do not record from the microphone.")
@click.option(
    "--slowdown",
    type=FiniteRange(min=1, max=1000),
    default=1.0,
    metavar="FACTOR",
    help="Count computation this many times as long, to foresee a slower device.",
)
@device_option
@configured
def command(
    write: bool, as_json: bool, no_microphone: bool, slowdown: float, device: tuple[str, ...], loaded: LoadedConfig
) -> int:
    """Examine this machine: runtime, speed, microphone, temperature, memory; recommend settings.

    It takes about a minute at most. The exit code is 0 if live dictation will keep up with the recommended settings,
    else 1. A microphone that is missing is reported, and does not change the exit code.
    """
    from device_asr.audio.devices import silenced_libraries
    from device_asr.config import config_path
    from device_asr.doctor.examine import Wanted, examine
    from device_asr.doctor.report import record

    if write and slowdown != 1:
        raise UsageError("--write wants what was measured on this machine; leave out --slowdown.")
    config = with_device(loaded.config, device)
    threads = config.model.threads if loaded.origins["model.threads"] == "flag" else None
    named = click.get_current_context().params.get("config_file")
    path = Path(named) if named else config_path()
    width = shutil.get_terminal_size().columns - 1 if sys.stdout.isatty() else 0
    with silenced_libraries():
        wanted = Wanted(threads, not no_microphone, slowdown)
        report = examine(config, wanted, _shown_later if as_json else _printer(width), _bar)
    if as_json:
        written = bool(write and report.changes and _write(path, report))
        echo(json.dumps(record(report, str(path), written), ensure_ascii=False, indent=2))
    else:
        _print(report, width)
        _offer(path, report, loaded, write)
    return 0 if report.keeps_up else 1


def _shown_later(check: Check) -> None:
    """Prints nothing: the JSON object holds all checks."""


def _printer(width: int) -> Callable[[Check], None]:
    """Prints a check as soon as it is made."""
    from device_asr.doctor.text import check_line

    return lambda check: echo(check_line(check, width))


@contextlib.contextmanager
def _bar(title: str) -> Iterator[Callable[[float], None]]:
    """A bar on a terminal while a candidate is measured."""
    with progress_bars() as progress:
        task = progress.add_task(title, total=1.0)
        yield lambda share: progress.update(task, completed=share)


def _print(report: Report, width: int) -> None:
    """The measurement, the verdict and the recommendation, below the checks."""
    from device_asr.doctor import text

    if report.trials:
        echo(f"\n{text.table(report.trials.runs)}\n{text.wrapped(text.explanation(), width)}")
    echo(f"\n{text.wrapped(text.verdict(report), width)}")
    advice = text.recommendation(report, width)
    if advice:
        echo(f"\n{advice}")


def _offer(path: Path, report: Report, loaded: LoadedConfig, write: bool) -> None:
    """Writes the settings where --write was given, or asks on a terminal; a pipe is never asked."""
    if not report.changes or report.slowdown != 1:
        return
    if not write:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            echo(f"\n`device-asr doctor --write` writes them to {path}.", err=True)
            return
        echo()
        if not click.confirm(f"Write them to {path}?", default=False):
            return
    _write(path, report)
    echo(f"{path} was written.", err=True)
    for key in report.changes:
        origin = loaded.origins[key]
        if origin.startswith("environment"):
            echo(f"{key}: the {origin} still goes before the file; unset it.", err=True)


def _write(path: Path, report: Report) -> bool:
    """Writes the settings that differ; True."""
    from device_asr.config.writing import write_settings

    write_settings(path, report.changes)
    return True
