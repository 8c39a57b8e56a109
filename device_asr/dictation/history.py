"""Sessions on disk: where they are kept; reading, finding and deleting them.

A session is `<id>.jsonl` in the sessions folder: a `session` record, then `final` and `edit` records in
order; beside it, where recording is on, `<id>.wav` (16 kHz, mono, 16 bit).
"""

from __future__ import annotations

import difflib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from device_asr.config import APP_NAME, SessionConfig
from device_asr.dictation.session_writer import lock
from device_asr.dictation.transcript import Line
from device_asr.errors import OutputError, UsageError
from device_asr.events import Final, Seconds, from_record


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
            if not lock(file.fileno()):
                raise OutputError(f"Session {session.id} is being dictated now and was left alone; end it first.")
        session.path.with_suffix(".wav").unlink(missing_ok=True)
        session.path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{session.path} cannot be deleted: {error.strerror}.") from None
