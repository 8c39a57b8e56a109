"""How the utterance in progress is shown: what was committed stays bright, and the rest moves little."""

from __future__ import annotations

from device_asr.events import Partial


class Moving:
    """What to draw of an utterance, Partial after Partial.

    Committed text never goes back, whatever a later Partial says. A text that only lost words from its
    end keeps them on the screen for one more Partial: an hypothesis often drops its last, half-heard
    words and finds them again 0.5 s later, and the line would jump there and back.
    """

    def __init__(self) -> None:
        self._partial: Partial | None = None
        self._committed = self._text = ""
        self._held = False

    def show(self, partial: Partial | None) -> tuple[str, str]:
        """The bright and the dim part of `partial`; asked again for the same one, it says the same."""
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
            # its words beyond those that were committed
            tail = text.split()[len(self._committed.split()) :]
            text = " ".join([self._committed, *tail]).strip()
        shorter = text != self._text and f"{self._text} ".startswith(f"{text} ")
        self._held = shorter and not self._held
        if not self._held:
            self._text = text
