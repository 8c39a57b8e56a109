"""Help: the keys in force and what each read-out means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from device_asr.tui.readouts import EXPLANATIONS

EDITING = "shift+up, shift+down choose a line, enter edits it; up, down, page up, end scroll"


class HelpScreen(ModalScreen[None]):
    """Closed by escape, q or ?."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,q,question_mark", "dismiss", "Close")]

    def __init__(self, keys: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._keys = keys

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog"):
            yield Static("Keys", classes="heading")
            yield Static("\n".join(f"{key:<12} {what}" for key, what in self._keys), markup=False)
            yield Static(f"\n{EDITING}\n", markup=False)
            yield Static("Read-outs", classes="heading")
            for name, text in EXPLANATIONS.items():
                yield Static(name.strip(), markup=False)
                yield Static(text, classes="meaning", markup=False)
