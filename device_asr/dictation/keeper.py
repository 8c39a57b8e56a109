"""Keeps what a live session delivers, in one session file after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from device_asr.audio.format import SAMPLE_RATE
from device_asr.audio.source import AudioChunk
from device_asr.config import Config
from device_asr.dictation.history import folder
from device_asr.dictation.session_writer import SessionWriter
from device_asr.dictation.state import Delivery
from device_asr.errors import DeviceAsrError
from device_asr.events import Final, Partial, Seconds, SpeechEnded


class Keeper:
    """Takes audio and deliveries on the recognizer's thread; the interface asks what is not on the disk.

    writer: of the session that takes text now.

    Args:
        config: where sessions are kept, and with which parts.
        on_failure: gets a sentence about what cannot be kept any more, on the recognizer's thread.

    Raises:
        OutputError: the session's file cannot be made.
    """

    def __init__(self, config: Config, on_failure: Callable[[str], None]) -> None:
        self._config, self._on_failure = config, on_failure
        self._fed = 0  # samples
        self._former: list[SessionWriter] = []  # sessions that have ended, and whose text the disk refused
        self.writer = self._new(0.0)

    def _new(self, offset: Seconds) -> SessionWriter:
        session = self._config.session
        return SessionWriter(
            folder(session),
            model=self._config.model.name,
            record=session.record,
            offset=offset,
            private=session.private,
        )

    def take(self, delivery: Delivery) -> None:
        """Keeps the text of an event."""
        event = delivery.event
        try:
            if isinstance(event, Final):
                self.writer.final(event, cut_short=delivery.cut_short)
            elif isinstance(event, Partial):
                self.writer.partial(event)
            elif isinstance(event, SpeechEnded):
                self.writer.taken_back()
        except DeviceAsrError as error:
            self._on_failure(str(error))

    def audio(self, chunk: AudioChunk) -> None:
        """Keeps audio, where it is recorded."""
        self._fed += chunk.pcm.size
        try:
            self.writer.audio(chunk.pcm)
        except DeviceAsrError as error:
            self._on_failure(str(error))

    def begin(self) -> SessionWriter:
        """Begins a new session here, where the utterance so far belongs to the former one.

        Raises:
            OutputError: its file cannot be made; the former session goes on.
        """
        former, self.writer = self.writer, self._new(self._fed / SAMPLE_RATE)
        if not former.close():
            self._former.append(former)
        return self.writer

    def close(self) -> None:
        """Ends all sessions; what the disk still refuses is in `unkept`."""
        for writer in (*self._former, self.writer):
            writer.close()

    @property
    def unkept(self) -> list[str]:
        """The texts that the disk refuses so far."""
        return [text for writer in (*self._former, self.writer) for text in writer.unkept]

    @property
    def trouble(self) -> str | None:
        """Why the disk refuses text; None: it does not."""
        return next((why for writer in (*self._former, self.writer) if (why := writer.trouble)), None)


def amount(texts: Sequence[str]) -> str:
    """How much text it is, such as "2 utterances (13 words)"."""
    words = sum(len(text.split()) for text in texts)
    return f"{len(texts)} utterance{'s' * (len(texts) != 1)} ({words} word{'s' * (words != 1)})"
