"""Plain text, an utterance a line, and JSON lines."""

from __future__ import annotations

import json

from device_asr.events import Final, to_record


class TextWriter:
    """The text of each utterance on a line of its own."""

    def header(self) -> str:
        return ""

    def final(self, final: Final) -> str:
        return final.text + "\n"


class JsonlWriter:
    """Each utterance as one JSON object: event, text, start, end, words, confidence."""

    def header(self) -> str:
        return ""

    def final(self, final: Final) -> str:
        return json.dumps(to_record(final), ensure_ascii=False) + "\n"
