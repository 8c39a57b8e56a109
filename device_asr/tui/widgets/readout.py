"""What the read-outs share: text that is drawn only when it has changed."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static


class Readout(Static):
    """One or more lines; `text` is what they say, without color."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("", markup=False, id=id)
        self._content = Content("")

    @property
    def text(self) -> str:
        """What is shown."""
        return self._content.plain

    def show(self, text: str | Content) -> None:
        """Draws `text` where it differs from what is there."""
        content = Content(text) if isinstance(text, str) else text
        if content.plain != self._content.plain:
            self._content = content
            self.update(content, layout=False)  # every read-out has a fixed place

    @property
    def columns(self) -> int:
        """Columns to fill."""
        return self.content_size.width or 78
