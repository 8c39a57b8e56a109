"""The line above the keys: an answer to a key, else the alarms, else the latest message."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from device_asr.dictation.state import LiveState
from device_asr.events import Seconds
from device_asr.tui.readouts import behind_line
from device_asr.tui.widgets.readout import Readout

# in the order in which they stand in the line, the first first
Alarm = Literal["failure", "disk", "device", "recording", "gap", "refused"]
ALARMS: tuple[Alarm, ...] = ("failure", "disk", "device", "recording", "gap", "refused")
ANSWER: Seconds = 5.0  # an answer covers everything else for so long


class NoticeLine(Readout):
    """Shows what matters most now; a message is never lost to a lesser one.

    An answer to a key covers all for `ANSWER` seconds. Alarms hold until they are released, and being behind stands
    behind them. The latest message shows where there is neither.

    Args:
        clock: seconds that go on.
    """

    def __init__(self, *, id: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(id=id)
        self._clock = clock
        self._message, self._answered = "", float("-inf")
        self._alarms: dict[Alarm, str] = {}

    def tell(self, message: str) -> None:
        """Keeps `message` until the next one; no alarm gives way to it, nor a fresh answer."""
        if self._clock() - self._answered >= ANSWER:
            self._message = message

    def answer(self, message: str) -> None:
        """Shows `message` at once, whatever else there is; the person has seen that audio was lost or a key refused."""
        self._message, self._answered = message, self._clock()
        self.hold("gap", None)
        self.hold("refused", None)

    def hold(self, alarm: Alarm, message: str | None) -> None:
        """Keeps an alarm of this kind until it is held with another message; None: releases it."""
        if message is None:
            self._alarms.pop(alarm, None)
            return
        if alarm not in self._alarms:
            self._answered = float("-inf")  # a new alarm does not wait for the end of an answer
        self._alarms[alarm] = message

    def refresh_notice(self, state: LiveState) -> None:
        """Shows what matters most, of which being behind is in `state`."""
        answered = self._clock() - self._answered < ANSWER
        urgent = [self._alarms[alarm] for alarm in ALARMS if alarm in self._alarms]
        if behind := behind_line(state):
            urgent.append(behind)
        alarmed = bool(urgent) and not answered
        self.set_class(alarmed, "-alarm")
        # the mark says without color what the color says
        self.show(f"! {'  '.join(urgent)}" if alarmed else self._message)
