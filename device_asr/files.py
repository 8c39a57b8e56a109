"""A text file that appears when it is whole: it is written beside its place and moved there at the end."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


class WholeFile:
    """Text for `path`, whose former content stays until `done`; a link stays a link, a pipe or device is written to.

    Raises:
        OSError: it cannot be opened, written or moved; `abandon` leaves nothing half-written.
    """

    def __init__(self, path: Path) -> None:
        self._target = path.resolve()
        # a device or pipe (/dev/stdout, /dev/null) is written to, never replaced by a file
        special = path.exists() and not path.is_file()
        self._partial = None if special else self._target.with_name(self._target.name + ".partial")
        self._file = (self._partial or path).open("w", encoding="utf-8")

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


def write_whole(path: Path, text: str) -> None:
    """Writes `text` as the whole file `path`.

    Raises:
        OSError: it cannot be written; nothing half-written is left.
    """
    file = WholeFile(path)
    try:
        file.write(text)
        file.done()
    finally:
        file.abandon()
