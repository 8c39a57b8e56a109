"""Sensitivity on the command line: measured once and kept, as a table for a person and rows for the report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from compress.evaluate.measurement import Measurement
from compress.networks.network import SpeechNetwork
from compress.report.sensitivity import SensitivityRow
from device_asr.bounded import parse_json
from device_asr.errors import OutputError

SENSITIVITY = "sensitivity.jsonl"  # in the work folder: the rows of the last table
KEPT = "sensitivity-evaluations.jsonl"  # beside it: every evaluation by what was evaluated


def kept(
    evaluate: Callable[[SpeechNetwork], float], folder: Path, measured_on: str
) -> Callable[[SpeechNetwork], float]:
    """An `evaluate` that computes once for the same network: the same command after a kill goes on.

    Args:
        measured_on: everything else that the evaluation depends on.

    Raises:
        OutputError: an evaluation cannot be written down.
    """
    path = folder / KEPT
    known = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with suppress(ValueError, KeyError):  # a line that a kill cut short
            row = parse_json(line)
            known[row["key"]] = float(row["score"])

    def ask(network: SpeechNetwork) -> float:
        key = fingerprint(network, measured_on)
        if key not in known:
            known[key] = evaluate(network)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with path.open("a", encoding="utf-8") as file:
                    file.write("\n" + json.dumps({"key": key, "score": known[key]}))  # ends a line cut short too
            except OSError as error:
                raise OutputError(f"{path} cannot be written: {error.strerror}; choose another --work.") from None
        return known[key]

    return ask


def fingerprint(network: SpeechNetwork, measured_on: str) -> str:
    """32 hex digits of a simulated network: weights as they are rounded tell its plan too."""
    digest = hashlib.sha256(measured_on.encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def to_measurements(rows: Sequence[SensitivityRow]) -> list[Measurement]:
    """The rows for the report: each layer's WER with more bits, and what they save and cost."""
    return [
        Measurement(
            row.name,
            settings={"bits": row.width.bits},
            wer=row.score,
            saved_wer=row.gain,
            extra_bytes=row.extra_bytes,
        )
        for row in rows
    ]


def markdown(rows: Sequence[SensitivityRow]) -> str:
    """The rows as a table, WER in percent, the largest gain per byte first."""
    lines = [
        f"WER as planned: {100 * rows[0].planned:.2f} %",
        "",
        "| layers | bits | KB more | WER % | points saved |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.name} | {row.width.bits} | {row.extra_bytes / 1e3:.0f} | {100 * row.score:.2f} | "
        f"{100 * row.gain:+.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


def to_toml(table: Mapping[str, Any]) -> str:
    """A plan's table as the [quantize] of a recipe."""
    lines = ["[quantize]", *(f"{key} = {json.dumps(value)}" for key, value in table.items() if key != "layers")]
    for entry in table.get("layers", ()):
        lines += ["", "[[quantize.layers]]", *(f"{key} = {json.dumps(value)}" for key, value in entry.items())]
    return "\n".join(lines)
