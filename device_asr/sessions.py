"""Sessions on disk: each Final is appended to a JSON lines file at once, so that nothing said is lost.

A session is `<id>.jsonl` in the sessions folder: a `session` record, then `final` and `edit` records in
order; beside it, where recording is on, `<id>.wav` (16 kHz, mono, 16 bit).
"""

from __future__ import annotations

import json
import os
import threading
import wave
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from device_asr.config import APP_NAME, SessionConfig
from device_asr.errors import OutputError, UsageError
from device_asr.events import Final, Seconds, from_record, to_record
from device_asr.sources import SAMPLE_RATE
from device_asr.transcript import Line

VERSION = 1
FLUSH_S: Seconds = 1.0  # a killed recording loses at most this much


def folder(config: SessionConfig) -> Path:
    """Where sessions are kept: `session.folder`, or the user data folder."""
    if config.folder:
        return Path(config.folder).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir(APP_NAME)) / "sessions"


class Recording:
    """A WAV file whose header tells its true length after every flush, so that a kill leaves it readable."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._wave = wave.open(self._file, "wb")  # noqa: SIM115
        self._wave.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        self._pending: list[np.ndarray] = []
        self._samples = 0

    def write(self, pcm: np.ndarray) -> None:
        """Appends (n,) float32 in [-1, 1]."""
        self._pending.append(pcm)
        self._samples += len(pcm)
        if self._samples >= FLUSH_S * SAMPLE_RATE:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            pcm = np.concatenate(self._pending)
            self._pending, self._samples = [], 0
            self._wave.writeframes(np.clip(np.round(pcm * 32768), -32768, 32767).astype("<i2").tobytes())
            self._file.flush()

    def close(self) -> None:
        """Writes the rest."""
        try:
            self._flush()
            self._wave.close()
        finally:
            self._file.close()


class SessionWriter:
    """Appends to one new session; safe to use from two threads (the recogniser's and the interface's).

    Args:
        directory: the sessions folder; made where it is missing.
        model: the model's name, kept for `history`.
        record: keep the sound too.
        offset: seconds of the audio clock at which this session begins; times in it count from there.

    Raises:
        OutputError: the folder or file cannot be written; also from every method that writes.
    """

    def __init__(self, directory: Path, *, model: str = "", record: bool = False, offset: Seconds = 0.0) -> None:
        self.offset = offset
        self._lock = threading.Lock()
        self._recording: Recording | None = None
        self._closed = False
        began = datetime.now().astimezone()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self.path, self._descriptor = _create(directory, began.strftime("%Y-%m-%d_%H-%M-%S"))
            if record:
                self._recording = Recording(self.path.with_suffix(".wav"))
        except OSError as error:
            raise OutputError(f"The session cannot be kept in {directory}: {error.strerror}; free the disk, or set "
                              "session.folder to a place that can be written.") from None
        self._append({"event": "session", "version": VERSION, "started": began.isoformat(timespec="seconds"),
                      "model": model})

    @property
    def id(self) -> str:
        """The name by which `history` and `replay` know it."""
        return self.path.stem

    def final(self, final: Final, *, cut_short: bool = False) -> Final:
        """Appends `final`, on the disk when this returns; returns it with its times in this session."""
        own = shifted(final, -self.offset)
        self._append({**to_record(own), "cut_short": cut_short})
        return own

    def edit(self, line: int, text: str) -> None:
        """Appends the person's text of line `line`, counted from 0 over the session's Finals."""
        self._append({"event": "edit", "line": line, "text": text})

    def audio(self, pcm: np.ndarray) -> None:
        """Appends (n,) float32 sound where recording is on."""
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
        """Ends the session; a session in which nothing was said and recorded leaves no file. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with suppress(OSError):
                if self._recording is not None:
                    self._recording.close()
            os.close(self._descriptor)
        if self._recording is None and not load(self.path).lines:
            self.path.unlink(missing_ok=True)

    def _append(self, record: dict[str, Any]) -> None:
        data = (json.dumps(record, ensure_ascii=False) + "\n").encode()
        with self._lock:
            try:
                while data:
                    data = data[os.write(self._descriptor, data):]
                os.fsync(self._descriptor)
            except OSError as error:
                raise OutputError(f"{self.path} cannot be written: {error.strerror}; free the disk, "
                                  "or save the text elsewhere.") from None


def _create(directory: Path, name: str) -> tuple[Path, int]:
    number = 1
    while True:
        path = directory / (f"{name}.jsonl" if number == 1 else f"{name}_{number}.jsonl")
        try:
            return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except FileExistsError:
            number += 1


def shifted(final: Final, by: Seconds) -> Final:
    """`final` with all times moved by `by` seconds, none below 0."""
    if not by:
        return final

    def move(time: Seconds) -> Seconds:
        return round(max(0.0, time + by), 3)

    words = tuple(replace(w, start=move(w.start), end=move(w.end)) for w in final.words)
    return replace(final, start=move(final.start), end=move(final.end), time=move(final.time), words=words)


@dataclass(frozen=True)
class Session:
    """A session as it was kept.

    lines: Finals with edits applied. cuts: seconds at which a phrase was ended by a pause or the end.
    """

    id: str
    path: Path
    started: str
    model: str
    lines: tuple[Line, ...]
    cuts: tuple[Seconds, ...]

    @property
    def recording(self) -> Path | None:
        """Its sound, where it was recorded."""
        path = self.path.with_suffix(".wav")
        return path if path.exists() else None

    @property
    def words(self) -> int:
        """Words of all lines."""
        return sum(len(line.text.split()) for line in self.lines)


def load(path: Path) -> Session:
    """Reads a session; a last line that a kill tore is left out.

    Raises:
        UsageError: it cannot be read.
    """
    started, model = "", ""
    lines: list[Line] = []
    cuts: list[Seconds] = []
    for record in _records(path):
        kind = record.get("event")
        if kind == "session":
            started, model = record.get("started", ""), record.get("model", "")
        elif kind == "final":
            final = from_record(record)
            assert isinstance(final, Final)
            lines.append(Line(final))
            if record.get("cut_short"):
                cuts.append(final.time)
        elif kind == "edit" and 0 <= record["line"] < len(lines):
            lines[record["line"]] = replace(lines[record["line"]], edited=record["text"])
    return Session(path.stem, path, started, model, tuple(lines), tuple(cuts))


def _records(path: Path) -> Iterator[dict[str, Any]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: the session cannot be read: {error.strerror}.") from None
    for line in content.splitlines():
        with suppress(ValueError):  # torn by a kill, or a byte that is no UTF-8
            record = json.loads(line)
            if isinstance(record, dict):
                yield record


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
    found = f"found {len(hits)}: {', '.join(hits[:5])}" if hits else f"found none of {len(names)}"
    raise UsageError(f"Wanted one session {wanted!r}, {found}; `device-asr history` lists them.")


def delete(session: Session) -> None:
    """Removes text and sound.

    Raises:
        OutputError: they cannot be removed.
    """
    try:
        session.path.with_suffix(".wav").unlink(missing_ok=True)
        session.path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{session.path} cannot be deleted: {error.strerror}.") from None
