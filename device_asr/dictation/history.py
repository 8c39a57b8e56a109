"""Sessions on disk: where they are kept; reading, finding and deleting them.

A session is `<id>.jsonl` in the sessions folder: a `session` record, then `final` and `edit` records in
order, and between them `partial` records of the utterance in progress, which a `final` or `taken_back` ends; beside
it, where recording is on, `<id>.wav` (16 kHz, mono, 16 bit).
"""

from __future__ import annotations

import difflib
import json
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from device_asr.config import APP_NAME, SessionConfig
from device_asr.dictation.records import lock
from device_asr.dictation.session_names import SUFFIX, names
from device_asr.dictation.transcript import Line
from device_asr.errors import OutputError, UsageError
from device_asr.events import Final, Partial, Seconds, from_record

LARGEST = 256 * 2**20  # bytes of a session that is read: a week of speech without a pause
_BEGIN = b'{"event": '  # of every record; inside a text its quotes would be escaped


def folder(config: SessionConfig) -> Path:
    """Where sessions are kept: `session.folder`, or the user data folder."""
    if config.folder:
        return Path(os.path.expanduser(config.folder))
    import platformdirs

    return Path(platformdirs.user_data_dir(APP_NAME)) / "sessions"


@dataclass(frozen=True)
class Session:
    """A session as it was kept.

    lines: Finals with edits applied. cuts: seconds at which an utterance was ended by a pause or the end.
    unfinished: the last line is what was shown of an utterance whose final never came.
    damaged: lines of the file that could not be read and were left out, such as one that a kill tore.
    """

    id: str
    path: Path
    started: str
    model: str
    lines: tuple[Line, ...]
    cuts: tuple[Seconds, ...]
    unfinished: bool = False
    damaged: int = 0

    @property
    def recording(self) -> Path | None:
        """The path of its audio; None: it was not recorded."""
        path = self.path.with_suffix(".wav")
        return path if path.exists() else None

    @property
    def words(self) -> int:
        """Words of all lines."""
        return sum(line.words for line in self.lines)


def load(path: Path) -> Session:
    """Reads a session; lines that cannot be read are counted and left out.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        descriptor = _opened(path)
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise UsageError(f"{path}: the session cannot be read: {error.strerror}.") from None
    if len(content) > LARGEST:
        raise UsageError(f"{path}: the session cannot be read: wanted at most {LARGEST >> 20} MB, found more.")
    reading = _Reading()
    for line in content.split(b"\n"):
        if line.strip():
            reading.line(line)
    return reading.session(path)


def _opened(path: Path) -> int:
    """The descriptor of a session, to read; a pipe of this name is not waited for.

    Raises:
        OSError: it cannot be opened, or is no file.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(None, "wanted a file, found something else")
    return descriptor


class _Reading:
    """What the records so far have made of a session."""

    def __init__(self) -> None:
        self._started = self._model = ""
        self._lines: list[Line] = []
        self._cuts: list[Seconds] = []
        self._partial: Line | None = None
        self._damaged = 0

    def line(self, line: bytes) -> None:
        """Takes a line of the file; a whole record that stands behind a torn one is taken all the same."""
        if self._takes(line):
            return
        self._damaged += 1
        last = line.rfind(_BEGIN)
        if last > 0:
            self._takes(line[last:])

    def _takes(self, line: bytes) -> bool:
        try:
            self._record(json.loads(line))
        # numbers of thousands of digits and brackets in brackets are refused as ValueError and RecursionError
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
            return False
        return True

    def _record(self, record: Any) -> None:
        """Takes one more record; an unknown kind changes nothing."""
        kind = record.get("event")
        if kind == "session":
            self._started, self._model = _text(record.get("started", "")), _text(record.get("model", ""))
        elif kind == "final":
            final = from_record(record)
            assert isinstance(final, Final)
            self._lines.append(Line(final))
            if record.get("cut_short"):
                self._cuts.append(final.time)
            self._partial = None
        elif kind == "partial":
            partial = from_record({**record, "committed": ""})
            assert isinstance(partial, Partial)
            final = Final(partial.utterance, partial.text, partial.start, partial.end, partial.time, (), 0.0)
            self._partial = Line(final) if partial.text.strip() else None
        elif kind == "taken_back":
            self._partial = None
        elif kind == "edit":
            index, text = record["line"], _text(record["text"])
            if isinstance(index, bool) or index < 0:
                raise IndexError(index)
            self._lines[index] = replace(self._lines[index], edited=text)

    def session(self, path: Path) -> Session:
        """The session so far."""
        lines = (*self._lines, *([self._partial] if self._partial else []))
        unfinished = self._partial is not None
        return Session(path.stem, path, self._started, self._model, lines, tuple(self._cuts), unfinished, self._damaged)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def list_sessions(directory: Path, on_bad: Callable[[str], None] = lambda _: None) -> list[Session]:
    """All sessions that can be read, oldest first.

    Args:
        directory: the sessions folder.
        on_bad: gets a sentence about each that cannot be read.

    Raises:
        OutputError: the folder cannot be read.
    """
    found = []
    for name in names(directory):
        try:
            found.append(load(directory / f"{name}{SUFFIX}"))
        except UsageError as error:
            on_bad(str(error))
    return found


def find(directory: Path, wanted: str) -> Session:
    """The session `wanted`: its id, the beginning of one, or `last`.

    Raises:
        UsageError: none or several match, or the one cannot be read.
        OutputError: the folder cannot be read.
    """
    known = names(directory)
    if not wanted.strip():
        raise UsageError("Wanted the name of a session, its beginning or `last`, found an empty text.")
    if wanted == "last" and known:
        return load(directory / f"{known[-1]}{SUFFIX}")
    hits = [n for n in known if n == wanted] or [n for n in known if n.startswith(wanted)]
    if len(hits) == 1:
        return load(directory / f"{hits[0]}{SUFFIX}")
    if not known:
        raise UsageError(f"Wanted session {wanted!r}, and none is kept in {directory} yet.")
    if hits:
        raise UsageError(
            f"Wanted one session {wanted!r}, found {len(hits)}: {', '.join(hits[:5])}"
            f"{' and more' if len(hits) > 5 else ''}; give more of its name."
        )
    near = difflib.get_close_matches(wanted, [*known, "last"], 1, cutoff=0.0)[0]
    raise UsageError(
        f"Wanted session {wanted!r}, found none of {len(known)} by this name; the nearest is {near!r}, "
        "and `device-asr history` lists them all."
    )


def delete(session: Session) -> None:
    """Removes text and audio.

    Raises:
        OutputError: they cannot be removed, or the session is being written now.
    """
    try:
        descriptor = _opened(session.path)
        try:
            if not lock(descriptor):
                raise OutputError(f"Session {session.id} is being dictated now and was left alone; end it first.")
            session.path.with_suffix(".wav").unlink(missing_ok=True)
            session.path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OutputError(f"{session.path} cannot be deleted: {error.strerror}.") from None
