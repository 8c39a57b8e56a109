"""The base of the read-outs: text that is drawn only when it has changed."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from device_asr.printable import printable


class Readout(Static):
    """One or more lines of text."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("", markup=False, id=id)
        self._content = Content("")

    @property
    def text(self) -> str:
        """The text on the screen, without color."""
        return self._content.plain

    def show(self, text: str | Content) -> None:
        """Draws `text` if it differs from the text on the screen."""
        content = Content(printable(text, lines=True)) if isinstance(text, str) else text
        if content.plain != self._content.plain:
            self._content = content
            self.update(content, layout=False)  # every read-out has a fixed place

    @property
    def columns(self) -> int:
        """Columns to fill."""
        return self.content_size.width or 78
