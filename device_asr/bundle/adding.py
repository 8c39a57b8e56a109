"""Adding a bundle to the user's models: a folder, or a .tar.gz archive of one, is checked and copied whole."""

from __future__ import annotations

import gzip
import re
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath

from device_asr.bundle.bundle import Bundle, load, user_models
from device_asr.errors import BundleError, OutputError

MOST_BYTES = 1_000_000_000  # of a bundle; the largest network that is known here has 60 MB
MOST_FILES = 64
MOST_AT_ONCE = 1_000_000  # bytes of a header; an archive that asks for more would fill the memory
BESIDE = ("manifest.json", "CARD.md")  # files of a bundle that its manifest does not list
NAME = r"\w[\w.-]{0,63}"


def add_bundle(source: Path, replace: bool = False) -> Path:
    """Copies a bundle into the user's models, where every environment finds it by its name.

    The files appear when all of them are there and their sha256 is right. Nothing else of the folder or archive is
    copied.

    Args:
        source: a folder with manifest.json, or a .tar.gz archive of such a folder.
        replace: whether a model of the same name is replaced.

    Returns:
        The new folder.

    Raises:
        BundleError: the source is no bundle, is damaged or too large, or a model of this name is there.
        OutputError: the copy cannot be written.
    """
    models = user_models()
    try:
        models.mkdir(parents=True, exist_ok=True)
        # beside the models' folder: what a kill leaves there is never found as a model
        with tempfile.TemporaryDirectory(prefix="adding-", dir=models.parent) as folder:
            whole = Path(folder) / "whole"
            if source.is_dir():
                return _copy(source, source, whole, models, replace)
            unpacked = Path(folder) / "unpacked"
            unpacked.mkdir()
            _unpack(source, unpacked)
            return _copy(unpacked, source, whole, models, replace)
    except OSError as error:
        raise OutputError(f"{error.filename or models}: the model cannot be copied ({error.strerror}).") from None


def _too_large(source: Path) -> str:
    return f"{source}: wanted at most {MOST_FILES} files of {MOST_BYTES // 10**6} MB together, found more."


def _copy(source: Path, shown: Path, whole: Path, models: Path, replace: bool) -> Path:
    """Checks a copy of the bundle in the folder `source` and moves it into `models`.

    Args:
        source: the folder; `shown` is what messages call it.
        whole: where the copy is made; it does not exist.
    """
    bundle = _load(source, shown, verify=False)
    if not re.fullmatch(NAME, bundle.name):
        raise BundleError(f"{shown}: wanted a name of letters, digits, dots and dashes, found {bundle.name!r}.")
    if bundle.size > MOST_BYTES or len(bundle.manifest["files"]) > MOST_FILES:
        raise BundleError(_too_large(shown))
    target = models / bundle.name
    if target.exists() and not replace:
        raise BundleError(f"{target} is there already; `device-asr models add --replace` puts the new one there.")
    whole.mkdir()
    for name in (*bundle.manifest["files"], *BESIDE):
        if (source / name).is_file():
            shutil.copyfile(source / name, whole / name)
    _load(whole, shown, verify=True)  # the copy is checked: the source may change meanwhile
    former = whole.with_name("former")
    if target.is_symlink() or target.exists():
        target.rename(former)
    try:
        return whole.rename(target)
    except OSError:
        if former.is_symlink() or former.exists():
            former.rename(target)
        raise


def _load(folder: Path, shown: Path, verify: bool) -> Bundle:
    """Loads the bundle in `folder`; messages call the folder `shown`."""
    try:
        return load(folder, verify)
    except BundleError as error:
        raise BundleError(str(error).replace(str(folder), str(shown))) from None


class _Bounded(gzip.GzipFile):
    """An archive's unpacked bytes for `tarfile`, which reads a header of any size that the archive claims at once.

    Raises:
        tarfile.ReadError: more than `MOST_AT_ONCE` bytes are asked for.
    """

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MOST_AT_ONCE:
            raise tarfile.ReadError(f"a header of more than {MOST_AT_ONCE} bytes")
        return super().read(size)


def _unpack(archive: Path, folder: Path) -> None:
    """Unpacks the plain files of one folder's .tar.gz archive.

    Raises:
        BundleError: it is not such an archive, or too large.
    """
    try:
        size = count = 0
        with _Bounded(archive) as data, tarfile.open(fileobj=data, mode="r:") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if member.isdir():
                    continue
                count, size = count + 1, size + member.size
                if count > MOST_FILES or size > MOST_BYTES:
                    raise BundleError(_too_large(archive))
                file = tar.extractfile(member) if member.isreg() else None
                if file is None or len(path.parts) > 2 or ".." in path.parts or not re.fullmatch(NAME, path.name):
                    raise BundleError(f"{archive}: wanted plain files in one folder, found {member.name!r}.")
                if (folder / path.name).exists():
                    raise BundleError(f"{archive}: wanted one bundle, found {path.name} twice.")
                with (folder / path.name).open("wb") as out:
                    shutil.copyfileobj(file, out)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:  # ValueError: a NUL
        raise BundleError(
            f"{archive}: wanted a model's folder or a .tar.gz archive of one, found other or damaged bytes ({error})."
        ) from None
