"""The figures of a search in the card of the bundle that it chose."""

from __future__ import annotations

import json
from pathlib import Path

from compress.evaluate.measurement import Measurement, cells
from compress.recipe.card import MEASURED, write_card
from compress.search.device_profile import DeviceProfile

NOT_MEASURED = "Not measured yet."
NAMES = (
    "parameters (M)",
    "bundle (MB)",
    "WER (%)",
    "RTF, all computation",
    "finalization, p95, without the hang-over (ms)",
    "seconds spent on the trial",
)  # what `cells` tells


def measured_card(row: Measurement, device: DeviceProfile, test_set: str, command: str) -> None:
    """Puts a trial's figures into the card of its bundle; a card that has figures already stays as it is.

    Args:
        test_set: what the trial was measured on, for a person. command: the command that made the figures.
    """
    folder = Path(row.bundle)
    path = folder / "CARD.md"
    if NOT_MEASURED not in path.read_text(encoding="utf-8"):
        return
    lines = [
        MEASURED,
        f"On {test_set}, streaming path, {device.threads} threads of this machine; `{command}`. "
        f"{device.name} is taken to need {device.factor} times as long.",
        "",
        *(f"* {name}: {value}" for name, value in zip(NAMES, cells(row), strict=True)),
    ]
    contents = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    write_card(path, contents, "\n".join(lines) + "\n")
