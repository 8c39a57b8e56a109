"""Installs a finished archive in a Debian root of the device's machine and compares what the model chooses there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from compress.deploy.guest import Guest, Ran, root
from compress.deploy.target import SYSTEMS, Target
from compress.paths import PACKAGE
from device_asr.bundle.bundle import Bundle
from device_asr.errors import DeviceAsrError

SCRIPT = PACKAGE / "deploy" / "short_check.py"
AUDIO = PACKAGE.parent / "assets" / "timer.flac"
FIRST, LAST = 7200, 35200  # samples of AUDIO from the first vowel on, so that the very first step holds speech
COMPARED = ("speech", "tokens", "text", "symbols")
PROGRAM = ".local/lib/device-asr/current/bin"


@dataclass(frozen=True)
class Checked:
    """An archive that was installed and did what it does here.

    dot_products: whether the processor told that it has them; None: it is none of ARM's.
    install_cpu, check_cpu: seconds of this machine's processors, emulation included.
    """

    python: str
    release: str
    processor: str
    text: str
    dot_products: bool | None
    install_cpu: float
    check_cpu: float

    def __str__(self) -> str:
        where = f"Debian {self.release}, Python {self.python}" + (f", {self.processor}" if self.processor else "")
        return (
            f"{where}: installed without network ({self.install_cpu:.0f} s of CPU), every method chooses what it "
            f"chooses here ({self.check_cpu:.0f} s), {self.text.strip()!r}; removed again."
        )


@contextmanager
def installed(target: Target, archive: Path, release: str) -> Iterator[tuple[Guest, Ran]]:
    """A guest in which the archive was unpacked and installed, and the run of install.sh.

    Raises:
        DeviceAsrError: it cannot be installed; the message is install.sh's own.
    """
    folder = root(target, release)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        guest = Guest(folder, home, target)
        unpacked = subprocess.run(["tar", "-xzf", str(archive), "-C", name], capture_output=True, text=True)
        if unpacked.returncode:
            raise DeviceAsrError(f"{archive} cannot be unpacked: {unpacked.stderr.strip()}; make it again.")
        (bundle,) = (path for path in home.iterdir() if path.is_dir())
        run = guest.run("sh", f"{bundle.name}/install.sh")
        if run.code:
            raise DeviceAsrError(f"The bundle cannot be installed on Debian {release}: {last_line(run)}")
        yield guest, run


def last_line(run: Ran) -> str:
    """What a command said last, on standard error where it said something there."""
    lines = (run.errors.strip() or run.said.strip()).splitlines() or [f"exit code {run.code}"]
    return lines[-1]


def compare(guest: Guest, model: Path, expected: dict[str, Any]) -> Ran:
    """Runs the short check in the guest.

    Args:
        model: the bundle's folder in the guest's home. expected: what it prints on this machine.

    Raises:
        DeviceAsrError: it failed, or something is chosen otherwise.
    """
    shutil.copyfile(SCRIPT, guest.home / SCRIPT.name)
    np.save(guest.home / "audio.npy", audio())
    run = guest.run(f"{PROGRAM}/python", SCRIPT.name, str(model), "audio.npy")
    if run.code:
        raise DeviceAsrError(
            f"The short check failed under {guest.target.processor or 'this machine'}: {last_line(run)}"
        )
    found = json.loads(run.said)
    for what in COMPARED:
        if found[what] != expected[what]:
            raise DeviceAsrError(
                f"The model differs on {guest.target.name} in {what}: wanted {expected[what]}, as on this machine, "
                f"found {found[what]}; report it with the output of `device-asr models show {model.name}`."
            )
    return run


def _told(run: Ran) -> tuple[str, bool | None]:
    found = json.loads(run.said)
    return str(found["text"]), found["dot_products"]


def audio() -> np.ndarray:
    """(n,) float32 at 16 kHz of speech."""
    return np.asarray(soundfile.read(AUDIO, dtype="float32", start=FIRST, stop=LAST)[0])


def expectation(model: Path) -> dict[str, Any]:
    """What the short check prints on this machine.

    Raises:
        DeviceAsrError: it failed.
    """
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "audio.npy"
        np.save(path, audio())
        command = [sys.executable, str(SCRIPT), str(model), str(path)]
        run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise DeviceAsrError(f"The short check failed on this machine: {run.stderr.strip().splitlines()[-1]}")
    found = json.loads(run.stdout)
    assert isinstance(found, dict)
    return found


def check(target: Target, archive: Path, bundle: Bundle, python: str, processors: Sequence[str] = ()) -> list[Checked]:
    """Installs, compares, and removes again; nothing that was installed may be left.

    Args:
        bundle: the model on this machine, which the archive holds too. python: one of `SYSTEMS`.
        processors: QEMU's names of those that are emulated; without any the target's.

    Raises:
        DeviceAsrError: one of the steps failed.
    """
    release, expected, found = SYSTEMS[python], expectation(bundle.path), []
    with installed(target, archive, release) as (guest, install):
        copy = Path(PROGRAM).parent / "models" / bundle.name
        for processor in processors or (target.processor,):
            emulated = replace(guest, target=replace(target, processor=processor))
            run = compare(emulated, copy, expected)
            found.append(Checked(python, release, processor, *_told(run), install.cpu, run.cpu))
        removal = guest.run("sh", f"{Path(PROGRAM).parents[1]}/uninstall.sh")
        left = [str(path.relative_to(guest.home)) for path in guest.home.glob(".*")]
        if removal.code or left:
            raise DeviceAsrError(f"uninstall.sh left {', '.join(left) or 'nothing'} and said: {last_line(removal)}")
    return found
