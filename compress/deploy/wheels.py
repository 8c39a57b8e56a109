"""The wheels of device_asr's dependencies for another machine and Python, by pip."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from email.parser import HeaderParser
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from compress.deploy.target import Target
from device_asr.errors import DeviceAsrError

INSTALLER = "pip"  # travels along and installs the others, so that the device needs no python3-venv
ATTEMPTS = 4  # each downloads what the wheels of the one before lack


def requirements(wheel: Path) -> list[Requirement]:
    """What a wheel depends on, extras included, as its metadata says.

    Raises:
        DeviceAsrError: it is no wheel.
    """
    try:
        with ZipFile(wheel) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            metadata = HeaderParser().parsestr(archive.read(name).decode())
    except (OSError, BadZipFile, StopIteration):
        raise DeviceAsrError(f"{wheel} is not a wheel; delete it and run the same command again.") from None
    return [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]


def lacking(wheels: Iterable[Path], target: Target, python: str) -> list[Requirement]:
    """Dependencies that none of the wheels satisfies on the target, with its environment markers."""
    there: dict[str, Version] = {}
    wheels = list(wheels)
    for wheel in wheels:
        name, there_is, _, _ = parse_wheel_filename(wheel.name)
        there[name] = there_is
    found: dict[str, Requirement] = {}
    for wheel in wheels:
        for wanted in requirements(wheel):
            version = there.get(canonicalize_name(wanted.name))
            if not applies(wanted, target, python):
                continue
            if version is None or not wanted.specifier.contains(version, prereleases=True):
                found[str(wanted)] = wanted
    return list(found.values())


def applies(wanted: Requirement, target: Target, python: str) -> bool:
    """Whether a dependency without extras is one on the target."""
    environment = {
        "extra": "",
        "implementation_name": "cpython",
        "implementation_version": f"{python}.0",
        "os_name": "posix",
        "platform_machine": target.machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }
    return wanted.marker is None or wanted.marker.evaluate(environment)


def download(program: Path, target: Target, python: str, folder: Path) -> list[Path]:
    """Downloads what the wheel `program` needs on the target, and pip.

    pip evaluates environment markers for the Python that runs it, not for the target's. What that leaves out is
    found by `lacking` and downloaded too.

    Returns:
        All wheels in `folder`, by name.

    Raises:
        DeviceAsrError: pip cannot be run, or cannot download a package; the message is pip's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [wanted for wanted in requirements(program) if applies(wanted, target, python)]
    wanted.append(Requirement(INSTALLER))
    for _ in range(ATTEMPTS):
        run_pip(["download", *_choice(target, python), "--dest", str(folder), *map(_plain, wanted)])
        wanted = lacking([program, *folder.glob("*.whl")], target, python)
        if not wanted:
            return sorted(folder.glob("*.whl"))
    raise DeviceAsrError(
        f"pip found no wheels for Python {python} on {target.machine} that satisfy {', '.join(map(str, wanted))}; "
        "relax that dependency, or leave this Python out with --python."
    )


def _choice(target: Target, python: str) -> list[str]:
    abis = (f"cp{python.replace('.', '')}", "abi3", "none")
    return [
        "--only-binary=:all:",
        f"--python-version={python}",
        "--implementation=cp",
        *(f"--abi={abi}" for abi in abis),
        *(f"--platform={platform}" for platform in target.platforms),
    ]


def _plain(wanted: Requirement) -> str:
    """The requirement without its marker, which pip would evaluate for another Python."""
    extras = f"[{','.join(sorted(wanted.extras))}]" if wanted.extras else ""
    return f"{wanted.name}{extras}{wanted.specifier}"


def run_pip(arguments: Sequence[str], environment: dict[str, str] | None = None, cwd: Path | None = None) -> None:
    """Runs pip in silence.

    Raises:
        DeviceAsrError: it is not there, or it failed.
    """
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
    run = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", env=environment, cwd=cwd
    )
    if run.returncode == 0:
        return
    if "No module named pip" in run.stderr:
        raise DeviceAsrError(
            f"pip is missing in the environment of {sys.executable}; run: {sys.executable} -m ensurepip "
            "(Debian: sudo apt install python3-venv)"
        )
    raise DeviceAsrError(
        f"pip {arguments[0]} failed: {reason(run.stderr)}; check the network and run the same command."
    )


def reason(said: str) -> str:
    """The sentence of pip's output that says most: its first error that names a cause."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    network = [line for line in lines if "connection" in line.lower() or "resolve" in line.lower()]
    own = [line.removeprefix("device-asr: ") for line in lines if line.startswith("device-asr: ")]
    errors = own or [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR:")]
    if network and any("Could not find a version" in line or "No matching" in line for line in errors):
        return "the package index cannot be reached"
    return (errors or lines or ["it said nothing"])[0].rstrip(".")
