"""One check of the machine: its state, a sentence for a person, and its figures for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OK, WARNING, NOT_KNOWN = "ok", "warning", "not known"


@dataclass(frozen=True)
class Check:
    """What one check found.

    state: OK; WARNING: something should be done, and `says` tells what; NOT_KNOWN: the system does not tell.
    figures: ready for JSON; None stands for what is not known.
    """

    name: str
    state: str
    says: str
    figures: Mapping[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"state": self.state, "says": self.says, **self.figures}
