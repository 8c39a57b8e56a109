"""What the worker processes of one test run share: costly files, and the machine."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def locked(path: Path, *, alone: bool = True) -> Iterator[None]:
    """Holds a lock on a file that is there; several processes hold it at once if none of them wants to be alone."""
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # a child process may still have it open


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The file or folder that `make` writes at the path it gets; the first worker that asks makes it."""
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # of the run
    out, lock = folder / name, folder / f"{name}.lock"
    lock.touch()
    with locked(lock):
        if not out.exists():
            partial = folder / f"{name}.partial"
            make(partial)
            partial.rename(out)
    return out
