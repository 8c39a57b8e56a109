"""Messages from the recognizer's thread to the interface's."""

from __future__ import annotations

from textual.message import Message

from device_asr.dictation.session_writer import SessionWriter
from device_asr.dictation.state import Delivery


class Delivered(Message):
    """A delivery of the session, on its way to the interface's thread."""

    def __init__(self, delivery: Delivery) -> None:
        super().__init__()
        self.delivery = delivery


class SessionBegun(Message):
    """A new session keeps the text in `writer`; None: it could not begin, for the reason `failure`."""

    def __init__(self, writer: SessionWriter | None, failure: str = "") -> None:
        super().__init__()
        self.writer, self.failure = writer, failure


class NotKept(Message):
    """Something cannot be kept any more, as `sentence` says."""

    def __init__(self, sentence: str) -> None:
        super().__init__()
        self.sentence = sentence
