"""What a person sees on a terminal while a command works; nothing of it appears in a pipe."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, TextIO

import click

from device_asr.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

CLEAR_LINE = "\r\x1b[2K"


def progress_bars(*columns: ProgressColumn) -> Progress:
    """Bars on standard error where it is a terminal: a description, then rich's usual columns or other ones.

    A description is a text as it is: brackets in a file's name are no markup, and control characters are escapes.
    """
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, Task
    from rich.text import Text

    class Description(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(printable(task.description), style="progress.description")

    console = Console(stderr=True)
    shown = columns or Progress.get_default_columns()[1:]
    return Progress(Description(), *shown, console=console, disable=not console.is_terminal, transient=True)


class LiveLine:
    """One line of `stream` that is drawn over, where `stream` is a terminal.

    Args:
        dim: draw it dim, where finished text stands in the same terminal.
    """

    def __init__(self, stream: TextIO, *, dim: bool = False) -> None:
        self._stream, self._dim = stream, dim
        self.terminal = stream.isatty()
        self._drawn = False

    def draw(self, text: str) -> None:
        """Shows the end of `text`, as much as fits into the line."""
        if not self.terminal:
            return
        width = self._columns() - 1
        line = text if len(text) <= width else "…" + text[-(width - 1) :]
        self._stream.write(CLEAR_LINE + (click.style(line, dim=True) if self._dim else line))
        self._stream.flush()
        self._drawn = True

    def clear(self) -> None:
        """Takes the line away, so that other text can be printed."""
        if self._drawn:
            self._stream.write(CLEAR_LINE)
            self._stream.flush()
            self._drawn = False

    def _columns(self) -> int:
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns
        except (OSError, ValueError):  # not a real terminal
            columns = 0
        return columns or shutil.get_terminal_size().columns
