"""Rows of the table of techniques: from a benchmark's record, on disk, and as Markdown."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from compress import tables
from compress.prune.magnitude import PACK_LEVEL
from compress.tables import figure
from device_asr.errors import DeviceAsrError

NAME = "points"  # of its markers
READ_AT_ONCE = 1 << 20  # bytes
HEAD = (
    "point",
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


class PointsError(DeviceAsrError):
    """Not every point could be made."""


@dataclass(frozen=True)
class Row:
    """One point as measured.

    key: of the bundle, the speech and the threads, see `row_key`. bytes: of the bundle's files, packed
    through zlib. words, substitutions, deletions, insertions: over the whole manifest. wer, rtf: fractions.
    finalization, compute: seconds, (p50, p95) with the hang-over and without; None: no utterance was heard.
    """

    key: str
    name: str
    title: str
    parameters: int
    nonzero: int
    bytes: int
    packed: int
    clips: int
    words: int
    substitutions: int
    deletions: int
    insertions: int
    wer: float | None
    rtf: float | None
    finalization: tuple[float | None, float | None]
    compute: tuple[float | None, float | None]


def row_key(bundle: Path, manifest: Path, threads: int) -> str:
    """Of a bundle's manifest, which names every file's hash, the speech it is measured on, and threads.

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


def to_row(key: str, bundle: Path, nonzero: int, record: Mapping[str, Any]) -> Row:
    """A row from a bundle's manifest and the record of its benchmark, see device_asr/bench/report.py."""
    contents = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    found = record["corpora"][0]
    times = [(found[name]["p50"], found[name]["p95"]) for name in ("finalization", "finalization_no_hangover")]
    names = ("clips", "words", "substitutions", "deletions", "insertions", "wer", "rtf")
    return Row(
        key,
        str(contents["name"]),
        str(contents["description"]),
        int(contents["parameters"]),
        nonzero,
        sum(int(entry["bytes"]) for entry in contents["files"].values()),
        packed_bytes(bundle),
        **{name: found[name] for name in names},
        finalization=times[0],
        compute=times[1],
    )


def read_rows(path: Path) -> dict[str, Row]:
    """The rows of a work folder; see `tables.read_rows`."""
    names = {field.name for field in fields(Row)}

    def make(values: Mapping[str, Any]) -> Row:
        known = {name: value for name, value in values.items() if name in names}
        return Row(**{**known, **{name: tuple(known[name]) for name in ("finalization", "compute")}})

    return tables.read_rows(path, make)


def write_rows(rows: Iterable[Row], path: Path) -> None:
    """Writes the rows; see `tables.write_rows`."""
    tables.write_rows([asdict(row) for row in rows], path)


# -- the table ---------------------------------------------------------------------------------------


def table(rows: Sequence[Row], heard: str, command: str) -> str:
    """The rows as Markdown, under a sentence with what was heard and the command that made them."""

    def cells(row: Row) -> list[str]:
        sizes = [f"{value / 1e6:.1f}" for value in (row.parameters, row.nonzero, row.bytes, row.packed)]
        errors = f"{row.substitutions} / {row.deletions} / {row.insertions}"
        times = [" / ".join(figure(value, 1000, ".0f") for value in pair) for pair in (row.finalization, row.compute)]
        return [row.title, *sizes, figure(row.wer, 100, ".1f"), errors, figure(row.rtf, 1, ".3f"), *times]

    return "\n".join(
        [f"On {heard}, streaming path; packed: through zlib. `{command}`", "", *tables.markdown(HEAD, map(cells, rows))]
    )


def heard(rows: Sequence[Row], manifest: Path, threads: int, machine: str) -> str:
    """What the rows were measured on, for a person."""
    count = f" ({rows[0].clips} clips, {rows[0].words} words)" if rows else ""
    return f"{manifest.stem}{count}, {threads} threads of {machine}"
