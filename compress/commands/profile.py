"""`device-asr-compress profile`: device profiles."""

from __future__ import annotations

from pathlib import Path

import click

from compress.commands import options
from compress.commands.terminal import progress
from compress.paths import LETTER
from compress.search import device_profile
from compress.search.profile import this_machine
from device_asr.console import echo


@click.command("profile")
@click.option("--new", "name", metavar="NAME", help="Measure this machine with the shipped model, and write NAME.toml.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write.  [default: NAME.toml]")
@options.threads(2)
@click.option("--audio", type=click.Path(path_type=Path), help="Speech to measure with.  [default: assets/letter.flac]")
def command(name: str | None, out: Path | None, threads: int, audio: Path | None) -> None:
    """List the device profiles, or measure this machine into a new one."""
    if name is None:
        for known in device_profile.shipped():
            echo(device_profile.to_toml(device_profile.load(known)))
        return
    progress("measuring", None, "")
    measured = this_machine(name, threads, audio=audio or LETTER)
    path = out or Path(f"{name}.toml")
    device_profile.save(measured, path)
    progress("measuring", 1.0, str(path))
    echo(device_profile.to_toml(measured), nl=False)
