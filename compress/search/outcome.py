"""The result of a search: the best of its trials under a device's budgets."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from compress.evaluate.measurement import Measurement
from compress.search.device_profile import DeviceProfile, Miss, misses


@dataclass(frozen=True)
class Outcome:
    """The best bundle that holds the budgets, or the nearest to them; None: no trial was measured."""

    device: DeviceProfile
    best: Measurement | None
    missed: tuple[Miss, ...]
    rows: tuple[Measurement, ...]

    @property
    def holds(self) -> bool:
        """Whether a bundle within all budgets was found."""
        return self.best is not None and not self.missed

    @property
    def sentence(self) -> str:
        """For a person."""
        tried = f"{sum(row.state == 'complete' for row in self.rows)} of {len(self.rows)} trials were measured"
        if self.best is None:
            why = next((row.reason for row in reversed(self.rows) if row.state == "failed"), "")
            return f"No bundle for {self.device.name}: {tried}; " + (f"last failure: {why}" if why else "run longer.")
        row, scaled = self.best, self.device.speed_factor
        where = "" if row.host in ("", platform.node()) else f" on {row.host}"
        what = f"{row.bundle or f'trial {row.name}'}{where} ({(row.bytes or 0) / 1e6:.1f} MB"
        what += "" if row.wer is None else f", WER {100 * row.wer:.1f} %"
        what += "" if row.rtf is None else f", RTF {row.rtf * scaled:.2f}"
        what += "" if row.compute_p95 is None else f", finalization {1000 * row.compute_p95 * scaled:.0f} ms"
        what += f", expected on {self.device.name})"
        if self.holds:
            return f"Best within the budgets of {self.device.name}: {what}; {tried}."
        return (
            f"Nothing holds the budgets of {self.device.name}; nearest is {what}, which misses "
            f"{', '.join(str(miss) for miss in self.missed)}; {tried}."
        )

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "device": asdict(self.device),
            "holds": self.holds,
            "sentence": self.sentence,
            "best": self.best and self.best.to_json(),
            "missed": [{**asdict(miss), "excess": miss.excess} for miss in self.missed],
            "trials": len(self.rows),
        }


def outcome(rows: Sequence[Measurement], device: DeviceProfile) -> Outcome:
    """The lowest WER within the budgets, else the least excess over all of them together; of equals the first."""
    complete = [(row, misses(row, device)) for row in rows if row.state == "complete"]
    if not complete:
        return Outcome(device, None, (), tuple(rows))
    best, missed = min(complete, key=lambda pair: (_excess(pair[1]), _wer(pair[0], math.inf)))
    return Outcome(device, best, missed, tuple(rows))


def score(row: Measurement, device: DeviceProfile) -> float:
    """WER plus the excess over each budget: the sampler minimizes it."""
    return _wer(row, 1.0) + _excess(misses(row, device))


def _wer(row: Measurement, unknown: float) -> float:
    return unknown if row.wer is None else row.wer


def _excess(missed: Sequence[Miss]) -> float:
    return sum(miss.excess for miss in missed)
