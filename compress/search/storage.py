"""Where the trials of a search are kept: Optuna's storages, which several machines may share.

None: an SQLite file in the work folder. A database URL, such as postgresql://host/name: that database. A path: a
journal file, which may lie on a network file system.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from device_asr.errors import DeviceAsrError, OutputError, UsageError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

OWN = "search.sqlite"


def is_url(storage: str) -> bool:
    """Whether it is a database URL; otherwise it is the path of a journal file."""
    return re.match(r"[a-z][a-z0-9+]*://", storage) is not None


def shown(storage: str | None, work: Path) -> str:
    """The storage for a message, without the password of a URL."""
    if storage is None:
        return str(work / OWN)
    return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", storage)


@contextmanager
def told(name: str, opening: bool = False) -> Iterator[None]:
    """Raises what a storage raises as one sentence.

    Args:
        name: of the storage, see `shown`. opening: the storage alone is at work, so that errors of files and of values
            are its own.

    Raises:
        OutputError: the database or the file cannot be used. UsageError: its URL or its driver is none.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import ArgumentError, DatabaseError, SQLAlchemyError

    try:
        yield
    except DeviceAsrError:
        raise
    except ImportError as error:  # Optuna's own sentence about SQLAlchemy's drivers is three lines long
        raise UsageError(
            f"--storage {name}: the database's driver is not installed ({error.name or 'see the URL'}); install it "
            "with pip, or give a journal file."
        ) from None
    except ArgumentError as error:
        raise UsageError(
            f"--storage {name}: wanted a database URL such as postgresql://host/name, or the path of a journal file "
            f"({_first_line(error)})."
        ) from None
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error if isinstance(error, SQLAlchemyError) else error.__cause__ or error
        why = getattr(cause, "orig", None) if isinstance(cause, DatabaseError) else cause
        raise OutputError(
            f"{name} cannot be used ({_first_line(why)}); free some of the disk, or choose another --work or --storage."
        ) from None
    except (OSError, ValueError, KeyError) as error:  # ValueError: a line of a journal that is none
        if not opening:
            raise
        raise OutputError(
            f"{name} cannot be used ({_first_line(error)}); choose another --storage, or move the file away."
        ) from None


def open_storage(storage: str | None, work: Path) -> BaseStorage | str:
    """What Optuna takes as the storage of a study.

    Raises:
        as a storage does; use it within `told`.
    """
    if storage is None:
        return f"sqlite:///{(work / OWN).resolve()}"
    if is_url(storage):
        return storage
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path = Path(storage).expanduser().resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    mend(path)
    return JournalStorage(JournalFileBackend(str(path)))


def mend(path: Path) -> None:
    """Takes the last line from a journal where a kill cut it short; the next one would be written behind it."""
    from optuna.storages.journal import JournalFileSymlinkLock

    if not path.is_file() or _ends_whole(path):
        return
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()  # nobody is writing the line just now
    try:
        if not _ends_whole(path):
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
    finally:
        lock.release()


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        return file.read() in (b"", b"\n")


def _first_line(error: object) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
