"""The level of the audio, and whether someone speaks."""

from __future__ import annotations

import time

from device_asr.audio.level import FLOOR_DB
from device_asr.dictation.state import LiveState
from device_asr.tui.readouts import level_line
from device_asr.tui.widgets.readout import Readout

HOLD_S = 1.5  # a peak stays visible this long
CLIP_S = 3.0


class LevelMeter(Readout):
    """Level with held peak, clip mark and speech indicator."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._hold, self._held_at, self._clipped_at = FLOOR_DB, 0.0, float("-inf")

    def refresh_level(self, state: LiveState) -> None:
        """Shows the level of `state`; call it many times a second."""
        now = time.monotonic()
        if state.level.peak_db >= self._hold or now - self._held_at > HOLD_S:
            self._hold, self._held_at = state.level.peak_db, now
        if state.level.clipped:
            self._clipped_at = now
        self.show(
            level_line(state.level, self._hold, now - self._clipped_at < CLIP_S, state.speech_probability, self.columns)
        )
