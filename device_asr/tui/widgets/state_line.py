"""The first line of the screen."""

from __future__ import annotations

from device_asr.dictation.state import LiveState
from device_asr.tui.readouts import state_line
from device_asr.tui.widgets.readout import Readout


class StateLine(Readout):
    """Device, rate, model, threads, elapsed, words, drops."""

    def refresh_state(self, state: LiveState, model: str, threads: int, words: int) -> None:
        """Shows `state`; `words` are those of the transcript."""
        self.show(state_line(state, model, threads, words, self.columns))
