"""New files: a text that appears when it is whole, private files and folders, and no link that somebody planted."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path

OWNER, UMASK = 0o600, 0o666  # permission bits of a new file: its owner's alone; as the umask says
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class WholeFile:
    """Text for `path`, whose former content stays until `done`; a link stays a link, a pipe or device is written to.

    The text is written beside `path` under a name that nobody else has, so that two writers of one path do not meet:
    the one that ends last puts its whole text there. A file that is replaced keeps its permission bits.

    Args:
        path: of the file.
        private: a new file can be read by its owner alone.

    Raises:
        OSError: it cannot be opened, written or moved; `abandon` leaves nothing half-written.
    """

    def __init__(self, path: Path, *, private: bool = False) -> None:
        _refuse_foreign_link(path)
        self._target = Path(os.path.realpath(path))
        self._partial: Path | None = None
        # a device or pipe (/dev/stdout, /dev/null) is written to, never replaced by a file
        if path.exists() and not path.is_file():
            self._file = path.open("w", encoding="utf-8", errors="replace")
            return
        # the name of a file may have 255 bytes, and the target's may be as long
        name = f"{self._target.name[:40]}.{secrets.token_hex(6)}.partial"
        self._partial = self._target.with_name(name)
        descriptor = create(self._partial, OWNER if private else UMASK)
        self._file = open(descriptor, "w", encoding="utf-8", errors="replace")  # noqa: SIM115
        with contextlib.suppress(OSError):
            os.chmod(self._partial, stat.S_IMODE(self._target.stat().st_mode))

    def write(self, text: str) -> None:
        """Appends `text` and hands it over to the system."""
        self._file.write(text)
        self._file.flush()

    def done(self) -> None:
        """Puts the file in its place."""
        if self._partial is not None:
            os.fsync(self._file.fileno())
        self._file.close()
        if self._partial is not None:
            self._partial.replace(self._target)
            self._partial = None

    def abandon(self) -> None:
        """Takes a half-written file away; after `done` it does nothing."""
        with contextlib.suppress(OSError):
            self._file.close()
        if self._partial is not None:
            with contextlib.suppress(OSError):
                self._partial.unlink(missing_ok=True)
            self._partial = None


def write_whole(path: Path, text: str, *, private: bool = False) -> None:
    """Writes `text` as the whole file `path`; see `WholeFile`.

    Raises:
        OSError: it cannot be written; nothing half-written is left.
    """
    file = WholeFile(path, private=private)
    try:
        file.write(text)
        file.done()
    finally:
        file.abandon()


def create(path: Path, mode: int) -> int:
    """The descriptor of a new file, to write to.

    Raises:
        FileExistsError: something has this name, such as a link, wherever it leads.
        OSError: it cannot be made.
    """
    return os.open(path, _NEW, mode)


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Writes all of `data` into a file, from byte `offset` on.

    Raises:
        OSError: some of it was not written.
    """
    os.lseek(descriptor, offset, os.SEEK_SET)
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def make_folder(path: Path, *, private: bool) -> None:
    """Makes a folder and those above it that are missing; private ones are open to their owner alone.

    Raises:
        OSError: one of them cannot be made.
    """
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent, private=private)
    path.mkdir(0o700 if private else 0o777, exist_ok=True)


def _refuse_foreign_link(path: Path) -> None:
    """In a folder that others write to, their link could lead to any file of ours; the kernel refuses it too."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        about = os.lstat(path)
        if stat.S_ISLNK(about.st_mode) and hasattr(os, "geteuid") and about.st_uid not in (os.geteuid(), 0):
            raise PermissionError(errno.EACCES, "it is a link that somebody else has made", str(path))
