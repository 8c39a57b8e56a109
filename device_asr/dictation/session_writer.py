"""Writes a session to disk: each Final is appended at once, so that no text is lost. See `history` for the form."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device_asr.errors import OutputError
from device_asr.events import Final, Seconds, shifted, to_record

if TYPE_CHECKING:  # reading sessions needs neither NumPy nor a recording
    import numpy as np

    from device_asr.audio.recording import Recording

VERSION = 1


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
                from device_asr.audio.recording import Recording

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
        """Appends `final` and waits until it is on the disk; returns it with the times of this session."""
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
        lock(descriptor)
        return path, descriptor


def lock(descriptor: int) -> bool:
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
