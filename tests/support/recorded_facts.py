"""What other machines told of themselves, written into a tree of files as their kernel does."""

from __future__ import annotations

import json
from pathlib import Path

from device_asr.doctor.facts import Facts, read_files

DATA = Path(__file__).resolve().parents[1] / "device_asr" / "doctor" / "data"


def facts_of(name: str, folder: Path) -> Facts:
    """The facts of the recorded machine `name`, whose files are laid under `folder` and read there."""
    recorded = json.loads((DATA / f"{name}.json").read_text())
    for path, text in recorded["files"].items():
        place = folder / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return Facts(read_files(folder), recorded["throttled"], "Linux", "6.6.51+rpt-rpi-v8", "aarch64", usable=4)
