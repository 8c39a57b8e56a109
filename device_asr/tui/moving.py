"""The utterance in progress on the screen: committed text stays bright, the rest moves little."""

from __future__ import annotations

from device_asr.events import Partial


class Moving:
    """The text to draw of an utterance, Partial after Partial.

    Committed text never goes back, whatever a later Partial has. A text that only lost words from its
    end keeps them on the screen for one more Partial: a hypothesis often drops its last, incomplete
    words and finds them again 0.5 s later, and the line would jump there and back.
    """

    def __init__(self) -> None:
        self._partial: Partial | None = None
        self._committed = self._text = ""
        self._held = False

    def show(self, partial: Partial | None) -> tuple[str, str]:
        """The bright and the dim part of `partial`; the same Partial gives the same answer."""
        if partial is None:
            self._partial, self._committed, self._text, self._held = None, "", "", False
        elif partial is not self._partial:
            if self._partial is None or partial.utterance != self._partial.utterance:
                self._committed, self._text, self._held = "", "", False
            self._partial = partial
            self._take(partial)
        return self._committed, self._text[len(self._committed) :]

    def _take(self, partial: Partial) -> None:
        if partial.committed.startswith(self._committed):
            self._committed = partial.committed
        text = partial.text
        if not text.startswith(self._committed):
            # its words after the committed ones
            tail = text.split()[len(self._committed.split()) :]
            text = " ".join([self._committed, *tail]).strip()
        shorter = text != self._text and f"{self._text} ".startswith(f"{text} ")
        self._held = shorter and not self._held
        if not self._held:
            self._text = text
