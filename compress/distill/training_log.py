"""metrics.jsonl of a training run: a row for each step, and one for each verdict after an epoch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_asr.files import write_whole

METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class TrainingReport:
    """What a training did: its steps, the loss of the first and of the last of them, the verdicts of its epochs."""

    steps: int
    first_loss: float | None
    last_loss: float | None
    verdicts: tuple[Mapping[str, Any], ...]


def append(work: Path, values: Mapping[str, Any]) -> None:
    """Adds a row to the log."""
    with (work / METRICS).open("a") as log:
        log.write(json.dumps(values) + "\n")


def read_rows(work: Path) -> list[dict[str, Any]]:
    """The rows of the log; none where there is no log."""
    path = work / METRICS
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def drop_after(work: Path, step: int) -> None:
    """Removes the rows of steps after `step`, and a row that a kill cut short."""
    path = work / METRICS
    if path.is_file():
        lines = path.read_text().splitlines(keepends=True)
        write_whole(path, "".join(line for line in lines if _step_of(line) <= step))


def earlier_wers(work: Path) -> list[float]:
    """WER after each epoch before the present step.

    A verdict on the present step is left out: the run was cut before it saved that it has the verdict.
    """
    rows = read_rows(work)
    now = max((row["step"] for row in rows), default=0)
    return [row["wer"] for row in rows if "decision" in row and row["step"] < now]


def training_report(work: Path) -> TrainingReport:
    """The report of a finished run, from its log."""
    rows = read_rows(work)
    losses = [row["loss"] for row in rows if isinstance(row.get("loss"), int | float)]
    return TrainingReport(
        max((row["step"] for row in rows), default=0),
        losses[0] if losses else None,
        losses[-1] if losses else None,
        tuple(row for row in rows if "decision" in row),
    )


def _step_of(line: str) -> float:
    """The step of a row; infinite where a kill cut the row short."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):
        return math.inf
