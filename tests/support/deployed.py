"""Wheels and bundles for devices that are made in a moment, without network."""

from __future__ import annotations

import ensurepip
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from compress.deploy import package
from compress.deploy.target import Target
from device_asr.bundle.bundle import Bundle

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
HERE = Target("here", platform.machine(), 1, "", (PYTHON,))
PROGRAM = """
import os, sys
def main():
    print("verified", os.environ.get("DEVICE_ASR_MODELS"), *sys.argv[1:])
    sys.exit({code})
"""


def pip_wheel() -> Path | None:
    """The wheel of pip that Python carries; None: the system has taken it away."""
    folders = (Path(ensurepip.__file__).parent / "_bundled", Path("/usr/share/python-wheels"))
    return next((path for folder in folders for path in folder.glob("pip-*.whl")), None)


def wheel(folder: Path, name: str, version: str = "1.0", requires: tuple[str, ...] = (), code: int = 0) -> Path:
    """A pure wheel; the program device-asr that it installs exits with `code`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    facts = f"{name}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    files = {
        f"{name}.py": PROGRAM.format(code=code),
        f"{facts}/METADATA": "\n".join(metadata) + "\n",
        f"{facts}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{facts}/entry_points.txt": f"[console_scripts]\ndevice-asr = {name}:main\n" if name == "device_asr" else "",
    }
    record = "".join(f"{file},,\n" for file in (*files, f"{facts}/RECORD"))
    with ZipFile(path, "w") as archive:
        for file, text in {**files, f"{facts}/RECORD": record}.items():
            archive.writestr(ZipInfo(file), text)  # of 1980, so that equal wheels have equal bytes
    return path


def run(script: Path, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a script of a bundle as a person whose home that folder is, without a session of systemd."""
    path = os.pathsep.join([str(Path(sys.executable).resolve().parent), "/usr/bin", "/bin"])
    return subprocess.run(
        ["sh", str(script)], env={"HOME": str(home), "PATH": path, **variables}, capture_output=True, text=True
    )


def model(folder: Path) -> Bundle:
    """A bundle of a few bytes; nothing loads it."""
    (folder / "toy").mkdir(parents=True, exist_ok=True)
    for name in ("manifest.json", "model.pte"):
        (folder / "toy" / name).write_text(f"{name} of toy\n")
    return Bundle(folder / "toy", {"name": "toy", "files": {"model.pte": {"bytes": 17}}})


def make(out: Path, check: Callable[[Path], None] | None = None) -> package.Package:
    """A bundle for this machine; its wheels are what `package.build_wheel` was replaced by."""
    return package.make(HERE, model(out.parent.parent / "models"), out, lambda *_: None, check)
