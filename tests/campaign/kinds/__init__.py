"""The kinds of inputs by name: each module prepares the files that it damages, `prepare`, and draws a case, `draw`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from tests.campaign.case import Case
from tests.campaign.chance import Chance
from tests.campaign.kinds import (
    arguments,
    bundle,
    checkpoints,
    faults,
    hotwords,
    program,
    recipes,
    sessions,
    settings,
    sound,
)


class Kind(Protocol):
    """A module of this room."""

    def prepare(self, bases: Path) -> None:
        """Makes the files that cases edit, below `bases`; another kind may have made some of them."""

    def draw(self, chance: Chance, bases: Path) -> Case:
        """One case."""


KINDS: dict[str, Kind] = {
    "sound": sound,
    "bundle": bundle,
    "program": program,
    "settings": settings,
    "arguments": arguments,
    "hotwords": hotwords,
    "sessions": sessions,
    "checkpoints": checkpoints,
    "recipes": recipes,
    "faults": faults,
}
FAULTS = "faults"  # which keep real time, so that they run beside the others
