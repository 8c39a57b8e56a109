"""A window that is closed under the interface: later drawing goes nowhere, and nothing blocks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


class Forgiving:
    """A text stream that survives its terminal.

    The toolkit draws on a thread of its own; where a write raised there, its queue filled up and the
    interface stood still for ever at its end, with the utterance in progress unfinished.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        """Writes, or throws away."""
        try:
            return self._file.write(text)
        except OSError:
            self._let_go()
            return len(text)

    def flush(self) -> None:
        """Flushes, or throws away."""
        try:
            self._file.flush()
        except OSError:
            self._let_go()

    def _let_go(self) -> None:
        """Points the descriptor to nowhere, so that Python can flush at its exit without failing."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._file.fileno())
        os.close(nowhere)
        with suppress(OSError):
            self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def forgiving_terminal() -> Iterator[None]:
    """Wraps the stream on which the screen is drawn (the original standard error) in `Forgiving` for a while."""
    former = sys.__stderr__
    if former is not None:
        sys.__stderr__ = Forgiving(former)  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        sys.__stderr__ = former  # type: ignore[misc]
