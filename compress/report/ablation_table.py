"""The table of ablations: from a benchmark's record to a row, and the rows as Markdown."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compress import tables
from compress.evaluate.measurement import Measurement, bench_figures
from compress.prune.magnitude import PACK_LEVEL
from compress.tables import figure

NAME = "ablation"  # of its markers
READ_AT_ONCE = 1 << 20  # bytes
HEAD = (
    "model",
    "parameters, M",
    "not zero, M",
    "bundle, MB",
    "packed, MB",
    "WER, %",
    "sub / del / ins",
    "RTF",
    "finalization, ms, p50 / p95",
    "without the hang-over",
)


def row_key(bundle: Path, manifest: Path, threads: int) -> str:
    """A digest of a bundle's manifest, which names every file's hash, of the speech it is measured on, and threads.

    Raises:
        OSError: one of them cannot be read.
    """
    digest = hashlib.sha256((bundle / "manifest.json").read_bytes())
    digest.update(manifest.read_bytes())
    digest.update(str(threads).encode())
    return digest.hexdigest()[:16]


def packed_bytes(bundle: Path) -> int:
    """Bytes of a bundle's files through zlib, as a zip, a wheel or an app store would send them.

    Raises:
        OSError: a file cannot be read.
    """
    contents = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    total = 0
    for name in contents["files"]:
        packer = zlib.compressobj(PACK_LEVEL)
        with (bundle / name).open("rb") as file:
            while block := file.read(READ_AT_ONCE):
                total += len(packer.compress(block))
        total += len(packer.flush())
    return total


def to_row(key: str, bundle: Path, nonzero: int, record: Mapping[str, Any]) -> Measurement:
    """A row from a bundle's manifest and the record of its benchmark, see device_asr/bench/report.py."""
    contents = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    return Measurement(
        str(contents["name"]),
        str(contents["description"]),
        key,
        parameters=int(contents["parameters"]),
        nonzero=nonzero,
        bytes=sum(int(entry["bytes"]) for entry in contents["files"].values()),
        packed=packed_bytes(bundle),
        **bench_figures(record),
    )


def table(rows: Sequence[Measurement], measured_on: str, command: str) -> str:
    """The rows as Markdown, under a sentence with what they were measured on and the command that made them."""

    def cells(row: Measurement) -> list[str]:
        sizes = [figure(value, 1e-6, ".1f") for value in (row.parameters, row.nonzero, row.bytes, row.packed)]
        errors = f"{row.substitutions} / {row.deletions} / {row.insertions}"
        times = [
            " / ".join(figure(value, 1000, ".0f") for value in pair)
            for pair in ((row.finalization_p50, row.finalization_p95), (row.compute_p50, row.compute_p95))
        ]
        return [row.title, *sizes, figure(row.wer, 100, ".1f"), errors, figure(row.rtf, 1, ".3f"), *times]

    return "\n".join(
        [
            f"On {measured_on}, streaming path; packed: through zlib. `{command}`",
            "",
            *tables.markdown(HEAD, map(cells, rows)),
        ]
    )


def measured_on(rows: Sequence[Measurement], manifest: Path, threads: int, machine: str) -> str:
    """The speech and the machine that the rows were measured on, for a person."""
    count = f" ({rows[0].clips} clips, {rows[0].words} words)" if rows else ""
    return f"{manifest.stem}{count}, {threads} threads of {machine}"
