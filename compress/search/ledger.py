"""What a search has tried: one row a trial, as JSON lines that a report or a person reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from compress.search.device_profile import Measured
from compress.tables import write_rows
from device_asr.errors import DeviceAsrError

State = Literal["complete", "cut", "failed"]


class LedgerError(DeviceAsrError):
    """A ledger cannot be read."""


@dataclass(frozen=True)
class Row:
    """One trial; None: not measured.

    state: "complete" (measured), "cut" (over budget, hopeless or a repetition: `reason` says which) or
    "failed" (`reason` is the failure's sentence). recipe: the settings that were varied.
    bytes: of the bundle, `estimated` until it was built. loss: fp32, before training, nats a character.
    wer: a fraction. rtf, finalization (seconds, p95, without the hang-over) and memory (bytes): as
    measured on this machine, not scaled to the device. seconds: spent on the trial.
    """

    trial: int
    state: State
    recipe: Mapping[str, Any]
    parameters: int | None = None
    bytes: int | None = None
    estimated: bool = True
    loss: float | None = None
    wer: float | None = None
    rtf: float | None = None
    finalization: float | None = None
    memory: int | None = None
    seconds: float = 0.0
    reason: str = ""
    bundle: str = ""
    worked: bool = field(default=True)  # more than an estimate was spent on it

    def measured(self) -> Measured:
        """The same figures for the comparison with a device's budgets."""
        return Measured(
            self.parameters or 0, self.bytes or 0, self.wer, self.rtf, self.finalization, self.memory, self.bundle
        )


def write(rows: Iterable[Row], path: Path) -> None:
    """Writes a ledger; the file appears when it is whole.

    Raises:
        OutputError: it cannot be written.
    """
    write_rows(map(asdict, rows), path)


def from_record(record: Mapping[str, Any]) -> Row:
    """A row from a parsed line; unknown keys are left out, so that older readers accept newer ledgers.

    Raises:
        TypeError: trial, state or recipe is missing.
    """
    names = {f.name for f in fields(Row)}
    return Row(**{key: value for key, value in record.items() if key in names})


def read(path: Path) -> list[Row]:
    """The rows of a ledger.

    Raises:
        LedgerError: missing, or a line that is no row.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise LedgerError(
            f"Ledger {path} cannot be read ({error.strerror}); `device-asr-compress search` writes one."
        ) from None
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(from_record(json.loads(line)))
        except (ValueError, TypeError, AttributeError):
            raise LedgerError(
                f"{path}, line {number}: wanted an object with trial, state and recipe, found {line[:60]!r}."
            ) from None
    return rows
