"""Decides what follows the death of the recognizer's process, so that no audio can kill it for ever."""

from __future__ import annotations

from collections import deque
from typing import Literal

from device_asr.events import Seconds

Step = Literal["again", "silence", "skip", "fail"]

# what follows the first, second ... death at the same call; a third chance is for chance: a kill from outside
STEPS: tuple[Step, ...] = ("again", "again", "silence", "skip")
LOADS = 3  # deaths in a row while it loads
MOST = 20  # deaths within `WINDOW`, wherever
WINDOW: Seconds = 600.0


class Restarts:
    """Counts deaths: those in a row at the same call, and all of the last `WINDOW` seconds."""

    def __init__(self) -> None:
        self._call: int | None = -1
        self._row = 0
        self._skipped = False  # since something new was recognized
        self._deaths: deque[float] = deque(maxlen=MOST)

    def progress(self) -> None:
        """A call was answered that no process had answered before."""
        self._row, self._skipped = 0, False

    def died(self, call: int | None, now: float) -> Step:
        """What to do after a death at `now` seconds.

        Args:
            call: number of the call that was not answered; None: it died while it was loading.
        """
        self._row = self._row + 1 if call == self._call or self._skipped else 1
        self._call = call
        self._deaths.append(now)
        if self._skipped or (len(self._deaths) == MOST and now - self._deaths[0] < WINDOW):
            return "fail"
        if call is None:
            return "fail" if self._row >= LOADS else "again"
        step = STEPS[self._row - 1]
        self._skipped = step == "skip"
        return step

    @property
    def often(self) -> str:
        """How often it died before it was given up, for a sentence."""
        if len(self._deaths) == MOST and self._deaths[-1] - self._deaths[0] < WINDOW:
            return f"{MOST} times in {(self._deaths[-1] - self._deaths[0]) / 60:.0f} min"
        return f"{self._row} times in a row"
