"""The report's inputs, read from a work folder and a bundle.

Each file may be missing (the report then says so and how to make it):
    ledger.jsonl       trials of a search, see `compress.evaluate.measurement`
    stages.jsonl       stages of a build, see `compress.evaluate.measurement`
    sensitivity.jsonl  layers with more bits, see `compress.evaluate.measurement`
    metrics.jsonl      of `compress.distill.trainer` runs, one file a run
    CARD.md            of a bundle
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from compress.evaluate.measurement import Measurement, read_rows
from compress.recipe.cache import STAGES
from compress.report.sensitivity_table import SENSITIVITY
from compress.search.device_profile import DeviceProfile
from compress.search.search import LEDGER
from device_asr.bounded import parse_json
from device_asr.errors import DeviceAsrError

METRICS = "metrics.jsonl"


class ReportError(DeviceAsrError):
    """An input of the report is broken."""


@dataclass(frozen=True)
class Inputs:
    """Everything that a report shows; None or empty: not there.

    trials: of a search. curves: run -> (step, loss) in order.
    """

    trials: Sequence[Measurement] = ()
    device: DeviceProfile | None = None
    sensitivity: Sequence[Measurement] = ()
    stages: Sequence[Measurement] = ()
    curves: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    card: str = ""


def gather(work: Path, device: DeviceProfile | None, bundle: Path | None) -> Inputs:
    """Everything of a work folder, metrics of runs in any folder under it too.

    Raises:
        ReportError: no such folder, or the bundle's card cannot be read.
        MeasurementError: a file of rows cannot be read; its line is named.
    """
    if not work.is_dir():
        raise ReportError(f"{work}: wanted the --work folder of a search or build, found no folder.")
    trials = read_rows(work / LEDGER)
    curves = {
        str(path.parent.relative_to(work)): curve for path in sorted(work.rglob(METRICS)) if (curve := read_curve(path))
    }
    card = ""
    if bundle is not None:
        try:
            card = (bundle / "CARD.md").read_text(encoding="utf-8")
        except OSError as error:
            raise ReportError(
                f"{bundle / 'CARD.md'} cannot be read ({error.strerror}); wanted a bundle's folder."
            ) from None
    return Inputs(trials, device, read_rows(work / SENSITIVITY), read_rows(work / STAGES), curves, card)


def read_curve(path: Path) -> list[tuple[int, float]]:
    """(step, loss) of a metrics.jsonl; verdicts, steps without a loss and a line cut short are left out."""
    curve = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = parse_json(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("loss"), int | float):
            curve.append((int(entry["step"]), float(entry["loss"])))
    return curve
