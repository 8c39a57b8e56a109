"""`device-asr-compress deploy`: an archive that installs the program on a device."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from compress.commands.terminal import progress
from compress.deploy import guest, package
from compress.deploy.check import Checked, check
from compress.deploy.target import SYSTEMS, Target, target_of
from compress.search.device_profile import load as load_device
from device_asr.bundle.bundle import Bundle, load
from device_asr.console import echo
from device_asr.errors import UsageError


@click.command("deploy")
@click.option("--target", "device", required=True, help="rpi5, rpi4, laptop, or a file of `profile --new`.")
@click.option("--model", default="en-tiny", show_default=True, metavar="NAME", help="Bundle by name or folder.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder to make; its archive lies beside it."
)
@click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="VERSION",
    help="Python of the device; repeatable.  [default: 3.11, 3.13]",
)
@click.option(
    "--check", "checked", is_flag=True, help="Install it in Debian roots, emulated where needed, and compare."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(device: str, model: str, out: Path, pythons: tuple[str, ...], checked: bool, as_json: bool) -> None:
    """Make a folder and an archive that install the program and a model on a device without network."""
    target, bundle = target_of(load_device(device), pythons), load(model)
    if checked:
        if not set(target.pythons) & set(SYSTEMS):
            raise UsageError(f"--check: wanted a Python of Debian, {' or '.join(SYSTEMS)}, found {' '.join(pythons)}.")
        guest.require(target)
    found: list[Checked] = []
    made = package.make(
        target,
        bundle,
        out,
        progress,
        lambda archive: found.extend(_check(target, archive, bundle)) if checked else None,
    )
    if as_json:
        sizes = {"unpacked": made.unpacked, "archived": made.archived, "installed": made.installed}
        checks = [asdict(one) for one in found]
        echo(json.dumps({"folder": str(made.folder), "archive": str(made.archive), **sizes, "checks": checks}))
        return
    echo(
        f"{made.archive}: {made.archived / 1e6:.1f} MB, {made.unpacked / 1e6:.1f} MB unpacked, about "
        f"{made.installed / 1e6:.0f} MB installed"
    )
    for one in found:
        echo(str(one))
    echo(f"Copy it to the device, then there: tar -xzf {made.archive.name} && {made.folder.name}/install.sh")


def _check(target: Target, archive: Path, bundle: Bundle) -> list[Checked]:
    found = []
    for python in target.pythons:
        if python in SYSTEMS:
            progress("checking", None, f"Debian {SYSTEMS[python]}, Python {python}")
            found += check(target, archive, bundle, python)
    return found
