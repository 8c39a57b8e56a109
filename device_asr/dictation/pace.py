"""Steps by which a slow machine saves work and returns: first fewer partials, then none."""

from __future__ import annotations

from device_asr.events import Seconds

BEHIND: Seconds = 1.5  # audio waiting, beyond what one long final takes on a machine that keeps up
CAUGHT_UP: Seconds = 0.3
PATIENCE: Seconds = 3.0  # a step shows its effect within this time
RECOVERY: Seconds = 10.0  # caught up for this long before a step is taken back
LONGEST_RECOVERY: Seconds = 160.0
STRETCH = 3.0  # partial interval of step 1 over the normal one
LAST_STEP = 2


class Pace:
    """Steps 0 (normal), 1 (longer partial interval), 2 (finals only), from the backlog over time.

    A step back that had to be taken again within its own recovery time doubles the next recovery, so
    that a machine at its limit does not swing. Audio that piled up while the recognizer was loading
    does not count: `update` takes steps only after it was worked off, or after `PATIENCE` at most.
    """

    def __init__(self, interval: Seconds | None) -> None:
        self.interval = interval
        self.step = 0
        self._began: float | None = None
        self._settled = False
        self._changed = float("-inf")  # when the last step was taken, either way
        self._went_back = float("-inf")
        self._calm_since: float | None = None
        self._recovery = RECOVERY

    def partial_interval(self) -> Seconds | None:
        """The interval of the step in force; None: finals only."""
        if self.interval is None or self.step == LAST_STEP:
            return None
        return self.interval * (STRETCH if self.step == 1 else 1)

    def excuse(self) -> None:
        """Audio piles up because the recognizer is loaded again, and not because the machine is slow."""
        self._began, self._settled = None, False

    def update(self, now: float, backlog: Seconds) -> int:
        """Takes a step at `now` if the `backlog` asks for one; returns 1 (saves work), -1 (takes it back) or 0."""
        if self.interval is None:
            return 0
        if self._began is None:
            self._began = now
        if not self._settled:
            self._settled = backlog < CAUGHT_UP or now - self._began > PATIENCE
            return 0
        if backlog > BEHIND:
            self._calm_since = None
            if self.step < LAST_STEP and now - self._changed >= PATIENCE:
                if now - self._went_back < self._recovery:
                    self._recovery = min(2 * self._recovery, LONGEST_RECOVERY)
                self.step += 1
                self._changed = now
                return 1
        elif backlog > CAUGHT_UP:
            self._calm_since = None
        else:
            if self._calm_since is None:
                self._calm_since = now
            if self.step and now - max(self._calm_since, self._changed) >= self._recovery:
                self.step -= 1
                self._changed = self._went_back = now
                return -1
        return 0
