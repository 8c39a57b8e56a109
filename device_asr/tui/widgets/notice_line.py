"""The line above the keys: the latest message."""

from __future__ import annotations

from device_asr.dictation.state import LiveState
from device_asr.tui.readouts import behind_line
from device_asr.tui.widgets.readout import Readout


class NoticeLine(Readout):
    """The latest message; being behind goes before it, and an alarm before both."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._message, self.alarm = "", False

    def report(self, message: str, *, alarm: bool = False) -> None:
        """Keeps `message` until the next one."""
        self._message, self.alarm = message, alarm

    def refresh_notice(self, state: LiveState) -> None:
        """Shows the message, or how far behind `state` is."""
        behind = behind_line(state)
        self.set_class(bool(behind) or self.alarm, "-alarm")
        text = behind if behind and not self.alarm else self._message
        # the mark says without color what the color says
        self.show(f"! {text}" if behind or self.alarm else text)
