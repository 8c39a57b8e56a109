"""Writes a session to disk: each Final is appended at once, so that no text is lost. See `history` for the form."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device_asr.dictation.records import INTERVAL, Records
from device_asr.dictation.session_names import new_names
from device_asr.errors import OutputError
from device_asr.events import Final, Partial, Seconds, shifted, to_record
from device_asr.files import OWNER, UMASK, make_folder

if TYPE_CHECKING:  # reading sessions needs neither NumPy nor a recording
    import numpy as np

    from device_asr.audio.recording import Recording

VERSION = 1


class SessionWriter:
    """Appends to one new session; safe to use from two threads (the recognizer's and the interface's).

    Text that the disk refuses waits in memory and is written again until it can be; see `Records`, `unkept`.

    Args:
        directory: the sessions folder; made where it is missing.
        model: the model's name, kept for `history`.
        record: keep the audio too.
        offset: seconds of the audio clock at which this session begins; times in it count from there.
        private: nobody else can read a new folder and the files.
        interval: seconds between two Partials that are kept.

    Raises:
        OutputError: the folder or file cannot be made; also from every method that writes, after `close`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        model: str = "",
        record: bool = False,
        offset: Seconds = 0.0,
        private: bool = True,
        interval: Seconds = INTERVAL,
    ) -> None:
        self.offset = offset
        self._lock = threading.Lock()
        self._recording: Recording | None = None
        self._recorded = False
        self._empty = True
        self._open = False  # a Partial was kept whose utterance has not ended
        began = datetime.now().astimezone()
        try:
            make_folder(directory, private=private)
            self._begin(directory, began, record, OWNER if private else UMASK, interval)
            self._records.add(
                {"event": "session", "version": VERSION, "started": began.isoformat(timespec="seconds"), "model": model}
            )
            if (trouble := self._records.trouble) is not None:
                self._give_up()
                raise trouble
        except OSError as error:
            raise OutputError(
                f"The session cannot be kept in {directory}: {error.strerror}; free the disk, or set "
                "session.folder to a place that can be written."
            ) from None

    def _begin(self, directory: Path, began: datetime, record: bool, mode: int, interval: Seconds) -> None:
        """Makes the files under the first name that both can have."""
        for name in new_names(directory, began):
            self.path = directory / f"{name}.jsonl"
            try:
                self._records = Records(self.path, mode, interval=interval)
            except FileExistsError:
                continue
            if not record:
                return
            from device_asr.audio.recording import Recording

            try:
                self._recording = Recording(self.path.with_suffix(".wav"), mode)
            except FileExistsError:
                self._records.drop()
                continue
            except OSError:
                self._records.drop()
                raise
            self._recorded = True
            return

    @property
    def id(self) -> str:
        """Its name in `history` and `replay`."""
        return self.path.stem

    @property
    def unkept(self) -> list[str]:
        """The texts that the disk refuses so far: of Finals, of edits, and of the utterance in progress."""
        return self._records.unkept

    @property
    def trouble(self) -> str | None:
        """Why the disk refuses text at the moment; None: it does not."""
        error = self._records.trouble
        return None if error is None else error.strerror or str(error)

    def final(self, final: Final, *, cut_short: bool = False) -> Final:
        """Appends `final`; returns it with the times of this session."""
        own = shifted(final, -self.offset)
        self._add({**to_record(own), "cut_short": cut_short}, own.text, settles=True)
        self._empty = False
        self._open = False
        return own

    def partial(self, partial: Partial) -> None:
        """Keeps the utterance in progress, so that a kill loses at most the last second of what was shown."""
        own = shifted(partial, -self.offset)
        record = {key: value for key, value in to_record(own).items() if key not in ("committed", "compute")}
        try:
            self._records.moving(record, own.text)
        except ValueError:
            raise self._ended() from None
        self._open = True

    def taken_back(self) -> None:
        """The utterance in progress has ended without text."""
        if self._open:
            self._open = False
            self._add({"event": "taken_back"}, settles=True)

    def edit(self, line: int, text: str) -> None:
        """Appends the person's text of line `line`, counted from 0 over the session's Finals."""
        self._add({"event": "edit", "line": line, "text": text}, text)

    def audio(self, pcm: np.ndarray) -> None:
        """Appends (n,) float32 audio where recording is on.

        Raises:
            OutputError: the recording has stopped; said once.
        """
        with self._lock:
            if self._recording is None:
                return
            try:
                self._recording.write(pcm)
            except OSError as error:
                recording, self._recording = self._recording, None
                with suppress(OSError):
                    recording.close()
                raise OutputError(f"Recording has stopped: {error.strerror}.") from None

    def close(self) -> bool:
        """Ends the session; a session without text and recording leaves no file. Idempotent.

        Returns False where the disk refuses text: it stays in `unkept` and is tried again, as a later `close` does.
        """
        with self._lock:
            recording, self._recording = self._recording, None
            if recording is not None:
                with suppress(OSError):
                    recording.close()
        if self._empty and not self._open and not self._recorded:
            self._records.drop()
            return True
        return self._records.close()

    def _give_up(self) -> None:
        self._records.drop()
        if self._recording is not None:
            recording, self._recording = self._recording, None
            recording.drop()

    def _add(self, record: dict[str, Any], text: str = "", *, settles: bool = False) -> None:
        try:
            self._records.add(record, text, settles=settles)
        except ValueError:
            raise self._ended() from None

    def _ended(self) -> OutputError:
        return OutputError(f"Session {self.id} has ended and takes no more text.")
