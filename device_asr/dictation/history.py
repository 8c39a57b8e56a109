"""Sessions on disk: each Final is appended to a JSON lines file at once, so that no text is lost.

A session is `<id>.jsonl` in the sessions folder: a `session` record, then `final` and `edit` records in
order; beside it, where recording is on, `<id>.wav` (16 kHz, mono, 16 bit).
"""

from __future__ import annotations

import difflib
import json
import os
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from device_asr.audio.recording import Recording
from device_asr.config import APP_NAME, SessionConfig
from device_asr.dictation.transcript import Line
from device_asr.errors import OutputError, UsageError
from device_asr.events import Final, Seconds, from_record, shifted, to_record

VERSION = 1


def folder(config: SessionConfig) -> Path:
    """Where sessions are kept: `session.folder`, or the user data folder."""
    if config.folder:
        return Path(config.folder).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir(APP_NAME)) / "sessions"


class SessionWriter:
    """Appends to one new session; safe to use from two threads (the recognizer's and the interface's).

    Args:
        directory: the sessions folder; made where it is missing.
        model: the model's name, kept for `history`.
        record: keep the audio too.
        offset: seconds of the audio clock at which this session begins; times in it count from there.

    Raises:
        OutputError: the folder or file cannot be written; also from every method that writes.
    """

    def __init__(self, directory: Path, *, model: str = "", record: bool = False, offset: Seconds = 0.0) -> None:
        self.offset = offset
        self._lock = threading.Lock()
        self._recording: Recording | None = None
        self._closed = False
        self._empty = True
        began = datetime.now().astimezone()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self.path, self._descriptor = _create(directory, began.strftime("%Y-%m-%d_%H-%M-%S"))
            if record:
                self._recording = Recording(self.path.with_suffix(".wav"))
        except OSError as error:
            raise OutputError(
                f"The session cannot be kept in {directory}: {error.strerror}; free the disk, or set "
                "session.folder to a place that can be written."
            ) from None
        self._append(
            {"event": "session", "version": VERSION, "started": began.isoformat(timespec="seconds"), "model": model}
        )

    @property
    def id(self) -> str:
        """Its name in `history` and `replay`."""
        return self.path.stem

    def final(self, final: Final, *, cut_short: bool = False) -> Final:
        """Appends `final`, on the disk when this returns; returns it with its times in this session."""
        own = shifted(final, -self.offset)
        self._append({**to_record(own), "cut_short": cut_short})
        self._empty = False
        return own

    def edit(self, line: int, text: str) -> None:
        """Appends the person's text of line `line`, counted from 0 over the session's Finals."""
        self._append({"event": "edit", "line": line, "text": text})

    def audio(self, pcm: np.ndarray) -> None:
        """Appends (n,) float32 audio where recording is on."""
        with self._lock:
            if self._recording is not None:
                try:
                    self._recording.write(pcm)
                except OSError as error:
                    recording, self._recording = self._recording, None
                    with suppress(OSError):
                        recording.close()
                    raise OutputError(f"Recording has stopped: {error.strerror}; the text is still kept.") from None

    def close(self) -> None:
        """Ends the session; a session without text and recording leaves no file. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with suppress(OSError):
                if self._recording is not None:
                    self._recording.close()
            os.close(self._descriptor)
        if self._recording is None and self._empty:
            self.path.unlink(missing_ok=True)

    def _append(self, record: dict[str, Any]) -> None:
        data = (json.dumps(record, ensure_ascii=False) + "\n").encode()
        with self._lock:
            if self._closed:  # the descriptor's number may belong to another file by now
                raise OutputError(f"Session {self.id} has ended and takes no more text.")
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
                os.fsync(self._descriptor)
            except OSError as error:
                raise OutputError(
                    f"{self.path} cannot be written: {error.strerror}; free the disk, or save the text elsewhere."
                ) from None


def _create(directory: Path, name: str) -> tuple[Path, int]:
    number = 1
    while True:
        path = directory / (f"{name}.jsonl" if number == 1 else f"{name}_{number}.jsonl")
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except FileExistsError:
            number += 1
            continue
        _lock(descriptor)
        return path, descriptor


def _lock(descriptor: int) -> bool:
    """Marks a session as being written, until its descriptor is closed; False where it is already.

    Windows has no such lock, and refuses to delete an open file by itself.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


@dataclass(frozen=True)
class Session:
    """A session as it was kept.

    lines: Finals with edits applied. cuts: seconds at which an utterance was ended by a pause or the end.
    damaged: lines of the file that could not be read and were left out, such as one that a kill tore.
    """

    id: str
    path: Path
    started: str
    model: str
    lines: tuple[Line, ...]
    cuts: tuple[Seconds, ...]
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
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: the session cannot be read: {error.strerror}.") from None
    session = Session(path.stem, path, "", "", (), ())
    for line in content.splitlines():
        try:
            session = _with(session, json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            session = replace(session, damaged=session.damaged + 1)
    return session


def _with(session: Session, record: Any) -> Session:
    """`session` and one more record; an unknown kind changes nothing."""
    kind = record.get("event")
    if kind == "session":
        return replace(session, started=record.get("started", ""), model=record.get("model", ""))
    if kind == "final":
        final = from_record(record)
        assert isinstance(final, Final)
        cuts = (*session.cuts, final.time) if record.get("cut_short") else session.cuts
        return replace(session, lines=(*session.lines, Line(final)), cuts=cuts)
    if kind == "edit":
        lines = list(session.lines)
        if record["line"] < 0:
            raise IndexError(record["line"])
        lines[record["line"]] = replace(lines[record["line"]], edited=record["text"])
        return replace(session, lines=tuple(lines))
    return session


def list_sessions(directory: Path) -> list[Session]:
    """All sessions, oldest first."""
    return [load(path) for path in sorted(directory.glob("*.jsonl"), key=lambda p: p.stem)]


def find(directory: Path, wanted: str) -> Session:
    """The session `wanted`: its id, the beginning of one, or `last`.

    Raises:
        UsageError: none or several match.
    """
    names = sorted(path.stem for path in directory.glob("*.jsonl"))
    if wanted == "last" and names:
        return load(directory / f"{names[-1]}.jsonl")
    hits = [n for n in names if n == wanted] or [n for n in names if n.startswith(wanted)]
    if len(hits) == 1:
        return load(directory / f"{hits[0]}.jsonl")
    if not names:
        raise UsageError(f"Wanted session {wanted!r}, and none is kept in {directory} yet.")
    if hits:
        raise UsageError(
            f"Wanted one session {wanted!r}, found {len(hits)}: {', '.join(hits[:5])}"
            f"{' and more' if len(hits) > 5 else ''}; give more of its name."
        )
    near = difflib.get_close_matches(wanted, [*names, "last"], 1, cutoff=0.0)[0]
    raise UsageError(
        f"Wanted session {wanted!r}, found none of {len(names)} by this name; the nearest is {near!r}, "
        "and `device-asr history` lists them all."
    )


def delete(session: Session) -> None:
    """Removes text and audio.

    Raises:
        OutputError: they cannot be removed, or the session is being written now.
    """
    try:
        with session.path.open("rb") as file:
            if not _lock(file.fileno()):
                raise OutputError(f"Session {session.id} is being dictated now and was left alone; end it first.")
        session.path.with_suffix(".wav").unlink(missing_ok=True)
        session.path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{session.path} cannot be deleted: {error.strerror}.") from None
