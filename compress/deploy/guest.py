"""A Debian root in which programs of another machine run, without network, under an emulated processor."""

from __future__ import annotations

import fcntl
import os
import platform
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from compress.deploy.target import Target
from compress.paths import PACKAGE
from device_asr.errors import DeviceAsrError

CACHE_VARIABLE = "DEVICE_ASR_ROOTS"
ENTER = PACKAGE / "deploy" / "files" / "enter.sh"
NAMESPACES = ("unshare", "--user", "--map-root-user", "--mount", "--net")
ARCHITECTURES = {"aarch64": "arm64", "x86_64": "amd64"}  # Debian's words
# what the scripts call, Python, and the C++ library of the native module; PortAudio for the microphone
PACKAGES = (
    *("coreutils", "dash", "findutils", "grep", "gzip", "libc-bin", "sed", "tar", "util-linux"),
    *("python3", "libstdc++6", "libportaudio2"),
)
MOUNTED = ("proc", "dev", "sys", "tmp", "home/device")
APT = "sudo apt install qemu-user-static mmdebstrap debian-archive-keyring"


def cache() -> Path:
    """The folder of the roots: the environment variable DEVICE_ASR_ROOTS, or one in the user's cache folder."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else Path(platformdirs.user_cache_dir("device_asr")) / "roots"


def emulator(target: Target) -> Path | None:
    """The static QEMU that runs the target's programs here; None: this machine runs them itself.

    Raises:
        DeviceAsrError: QEMU is missing, or the profile names no processor. QEMU's own choice is never taken: its
            `max` has the extension SME, with which XNNPACK's results are wrong.
    """
    if target.machine == platform.machine():
        return None
    if not target.processor:
        raise DeviceAsrError(
            f"Device {target.name!r} names no processor that can be emulated; set `processor` in its profile "
            f"(names: qemu-{target.machine}-static -cpu help), or check on a machine with {target.machine}."
        )
    for name in (f"qemu-{target.machine}-static", f"qemu-{target.machine}"):
        if found := shutil.which(name):
            return Path(found)
    raise DeviceAsrError(f"--check emulates {target.machine}, and QEMU for it is missing; run: {APT}")


def require(target: Target) -> None:
    """Raises DeviceAsrError, with what to install, where the target cannot be checked on this machine."""
    path = emulator(target)
    for program, package in (("unshare", "util-linux"), ("mmdebstrap", "mmdebstrap")):
        if shutil.which(program) is None:
            apt = APT if program == "mmdebstrap" else f"sudo apt install {package}"
            raise DeviceAsrError(f"--check makes a Debian root, and {program} is missing; run: {apt}")
    tried = subprocess.run(_enter("-", "-", target, path, []), capture_output=True, text=True)
    if tried.returncode:
        said = (tried.stderr.strip().splitlines() or ["unshare failed"])[-1]
        raise DeviceAsrError(
            f"--check needs user namespaces and an emulator in them, and that failed: {said}; try as root, outside "
            f"a container, on Linux 6.7 or later, or run: {APT}"
        )


def _enter(root: str, home: str, target: Target, path: Path | None, command: Sequence[str]) -> list[str]:
    names = [root, home, target.machine, str(path or "-"), target.processor]
    return [*NAMESPACES, "sh", str(ENTER), *names, *command]


@dataclass(frozen=True)
class Ran:
    """A command that ran in a guest. said: its standard output; cpu: seconds of this machine's processors."""

    code: int
    said: str
    errors: str
    cpu: float


@dataclass(frozen=True)
class Guest:
    """A root with a writable home, `home` on this machine and /home/device inside."""

    root: Path
    home: Path
    target: Target

    def run(self, *command: str) -> Ran:
        """Runs a command in the root."""
        line = _enter(str(self.root), str(self.home), self.target, emulator(self.target), command)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Ran(run.returncode, run.stdout, run.stderr, cpu)


def root(target: Target, release: str) -> Path:
    """The root of a Debian release for the target's machine, made by mmdebstrap once and kept in `cache`.

    Only the packages' files are unpacked and none is configured, so that making it needs no emulation.

    Raises:
        DeviceAsrError: it cannot be made.
    """
    folder = cache() / f"{release}-{target.machine}"
    with _alone(cache() / f"{folder.name}.lock"):
        if not folder.is_dir():
            _make(target, release, folder)
    return folder


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(target: Target, release: str, folder: Path) -> None:
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        archive = Path(name) / "root.tar"
        arguments = [f"--architectures={ARCHITECTURES[target.machine]}", f"--include={','.join(PACKAGES)}"]
        command = ["mmdebstrap", "--quiet", "--variant=extract", *arguments, release, str(archive)]
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
        if run.returncode:
            said = [line for line in run.stderr.splitlines() if line.startswith("E:")] or run.stderr.splitlines()
            raise DeviceAsrError(
                f"mmdebstrap could not make a Debian root ({release}): {(said or ['it said nothing'])[-1]}; check the "
                f"network and run the same command, or: {APT}"
            )
        partial.mkdir()
        _tool(["tar", "-x", "--no-same-owner", "--exclude=./dev/*", "-f", str(archive), "-C", str(partial)])
    for place in MOUNTED:
        (partial / place).mkdir(parents=True, exist_ok=True)
    for place in ("bin", "sbin", "lib", "lib64"):  # links that the package base-files makes when it is configured
        if (partial / "usr" / place).is_dir() and not (partial / place).exists():
            (partial / place).symlink_to(f"usr/{place}")
    path = emulator(target)
    emulated = [] if path is None else [str(path), "-cpu", target.processor]
    # the table of libraries, by which Python finds PortAudio; a package's configuration would make it
    _tool([*NAMESPACES, *emulated, str(partial / "sbin" / "ldconfig"), "-r", str(partial)])
    partial.rename(folder)


def _tool(command: Sequence[str]) -> None:
    """Runs a tool that makes a part of the root.

    Raises:
        DeviceAsrError: it failed.
    """
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if run.returncode:
        said = (run.stderr.strip().splitlines() or [f"exit code {run.returncode}"])[-1]
        raise DeviceAsrError(f"The Debian root could not be made: {said}; make room and run the same command.")
