"""The folder and the archive that install device_asr on a device: wheels, model, scripts and checksums."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import re
import shlex
import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING
from zipfile import ZipFile

from packaging.utils import parse_wheel_filename

from compress.deploy.program import build_wheel
from compress.deploy.target import Target
from compress.deploy.wheels import INSTALLER, download
from compress.paths import LETTER, PACKAGE
from device_asr.bundle.bundle import Bundle
from device_asr.errors import OutputError, UsageError

if TYPE_CHECKING:  # it loads torch
    from compress.data.training_data import Progress

FILES = PACKAGE / "deploy" / "files"
SCRIPTS = ("install.sh", "uninstall.sh")
UNIT = "device-asr-listen.service"
SUMS, SETTINGS, README = "SHA256SUMS", "contents", "README.txt"
BYTECODE = 0.6  # bytes that compiling adds / bytes of an environment's Python files (numpy, textual and others)
MOST_STEPS = 4  # of progress besides the Pythons


@dataclass(frozen=True)
class Package:
    """A made folder with its archive; sizes in bytes.

    unpacked: the folder's files. archived: the archive. installed: what the device needs, an estimate.
    """

    folder: Path
    archive: Path
    unpacked: int
    archived: int
    installed: int


def check_out(out: Path) -> None:
    """Raises UsageError where a folder would take the place of something that is none of this verb."""
    if out.exists() and not (out / SUMS).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(
            f"--out {out}: wanted a new folder, or one that this verb made, which is replaced, found other files; "
            "name a folder of its own."
        )


def archive_of(out: Path) -> Path:
    """Where the archive of a folder lies: beside it."""
    return out.with_name(out.name + ".tar.gz")


def make(
    target: Target, bundle: Bundle, out: Path, progress: Progress, check: Callable[[Path], None] | None = None
) -> Package:
    """Makes the folder `out` and its archive; both appear when they are whole and checked.

    Args:
        check: is called with the finished archive before it takes its place; it raises where something is wrong.

    Raises:
        UsageError: see `check_out`. OutputError: they cannot be written. DeviceAsrError: a wheel cannot be had.
    """
    check_out(out)
    if not re.fullmatch(r"[\w.-]+", bundle.name, re.ASCII):
        raise UsageError(
            f"Model {bundle.name!r}: wanted a name of letters, digits and _.- only; change `name` in its manifest."
        )
    out = out.absolute()
    partial = out.with_name(out.name + ".partial")
    archive, unfinished = archive_of(out), archive_of(partial)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        installed = _fill(target, bundle, partial, progress)
        progress("archive", None, archive.name)
        _archive(partial, out.name, unfinished)
        made = Package(out, archive, size(partial), unfinished.stat().st_size, installed)
        if check is not None:
            check(unfinished)
        _replace(partial, out)
        unfinished.replace(archive)
    except OSError as error:
        raise OutputError(
            f"{out} cannot be written ({error.strerror or error}); make room and run the same command. "
            "What was there before stays."
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        with contextlib.suppress(OSError):
            unfinished.unlink()
    progress("done", 1.0, str(archive))
    return made


def _replace(partial: Path, out: Path) -> None:
    """Puts a folder in its place; the former one goes when the new one is there."""
    former = out.with_name(out.name + ".former")
    shutil.rmtree(former, ignore_errors=True)
    if out.exists():
        out.rename(former)
    partial.rename(out)
    shutil.rmtree(former, ignore_errors=True)


def _fill(target: Target, bundle: Bundle, folder: Path, progress: Progress) -> int:
    """Writes everything into `folder`; returns the megabytes that the device needs for it."""
    steps = len(target.pythons) + MOST_STEPS
    wheels = folder / "wheels"
    progress("program", 0.0, f"for {target.machine}")
    program = build_wheel(target.machine, wheels)
    largest = 0
    for step, python in enumerate(target.pythons, 1):
        progress("wheels", step / steps, f"for Python {python}")
        separate = folder / f"python-{python}"  # pip chooses one version of a package for each Python
        chosen = [program, *download(program, target, python, separate)]
        largest = max(largest, sum(map(unpacked_size, chosen)))
        listed = [path.name for path in chosen if parse_wheel_filename(path.name)[0] != INSTALLER]
        (wheels / f"python-{python}.txt").write_text("".join(f"./wheels/{name}\n" for name in listed))
        for path in chosen[1:]:
            path.replace(wheels / path.name)
        separate.rmdir()
    progress("model", (steps - 2) / steps, bundle.name)
    _copy_model(bundle, folder / "models" / bundle.name)
    installed = largest + bundle.size
    _write_scripts(target, bundle, program, installed, folder)
    progress("checksums", (steps - 1) / steps, "")
    _write_sums(folder)
    return installed


def unpacked_size(wheel: Path) -> int:
    """Bytes of a wheel's files when it is installed, bytecode included."""
    with ZipFile(wheel) as archive:
        return sum(
            round(entry.file_size * (1 + BYTECODE if entry.filename.endswith(".py") else 1))
            for entry in archive.infolist()
        )


def _copy_model(bundle: Bundle, folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in ("manifest.json", "CARD.md", *bundle.manifest["files"]):
        if name != "CARD.md" or (bundle.path / name).is_file():  # people's own models may have no card
            shutil.copyfile(bundle.path / name, folder / name)


def _write_scripts(target: Target, bundle: Bundle, program: Path, installed: int, folder: Path) -> None:
    for name in SCRIPTS:
        shutil.copyfile(FILES / name, folder / name)
        (folder / name).chmod(0o755)
    shutil.copyfile(FILES / UNIT, folder / UNIT)
    shutil.copyfile(LETTER, folder / LETTER.name)  # to try the installed program with
    settings: Mapping[str, object] = {
        "version": parse_wheel_filename(program.name)[1],
        "target": target.name,
        "machine": target.machine,
        "pythons": " ".join(target.pythons),
        "model": bundle.name,
        "threads": target.threads,
        "megabytes": -(-installed // 2**20),
    }
    lines = (f"{name}={shlex.quote(str(value))}\n" for name, value in settings.items())
    (folder / SETTINGS).write_text("".join(lines))
    readme = Template((FILES / README).read_text(encoding="utf-8"))
    (folder / README).write_text(readme.substitute(settings), encoding="utf-8")


def _write_sums(folder: Path) -> None:
    """Writes the sha256 of every file in the form that `sha256sum -c` reads."""
    lines = []
    for path in _files(folder):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        lines.append(f"{digest}  {path.relative_to(folder)}\n")
    (folder / SUMS).write_text("".join(lines))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def size(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in _files(folder))


def _archive(folder: Path, name: str, path: Path) -> None:
    """Writes the files under `name/`, without owners and times, so that equal files make equal archives."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
        return entry

    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", 6, file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for each in _files(folder):
            archive.add(each, f"{name}/{each.relative_to(folder)}", recursive=False, filter=plain)
        packed.flush()
