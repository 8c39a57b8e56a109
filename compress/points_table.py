"""Rows of the table of techniques: from a benchmark's record, on disk, and as Markdown between markers."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from compress.prune import PACK_LEVEL
from device_asr.errors import DeviceAsrError, OutputError, UsageError

BEGIN, END = "<!-- points -->", "<!-- /points -->"
READ_AT_ONCE = 1 << 20  # bytes
HEAD = ("point", "parameters, M", "not zero, M", "bundle, MB", "packed, MB", "WER, %", "sub / del / ins", "RTF",
        "finalisation, ms, p50 / p95", "without the hang-over")


class PointsError(DeviceAsrError):
    """The rows cannot be read, or not every point could be made."""


@dataclass(frozen=True)
class Row:
    """One point as measured.

    key: of the bundle, the speech and the threads, see `row_key`. bytes: of the bundle's files, packed
    through zlib. words, substitutions, deletions, insertions: over the whole manifest. wer, rtf: fractions.
    finalisation, compute: seconds, (p50, p95) with the hang-over and without; None: no phrase was heard.
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
    finalisation: tuple[float | None, float | None]
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
    times = [(found[name]["p50"], found[name]["p95"]) for name in ("finalisation", "finalisation_no_hangover")]
    names = ("clips", "words", "substitutions", "deletions", "insertions", "wer", "rtf")
    return Row(key, str(contents["name"]), str(contents["description"]), int(contents["parameters"]), nonzero,
               sum(int(entry["bytes"]) for entry in contents["files"].values()), packed_bytes(bundle),
               **{name: found[name] for name in names}, finalisation=times[0], compute=times[1])


def read_rows(path: Path) -> dict[str, Row]:
    """The rows of a work folder by their keys; none where there is no file.

    Raises:
        PointsError: the file cannot be read, or a line is no row.
    """
    if not path.is_file():
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PointsError(f"{path} cannot be read: {error}.") from None
    names, rows = {field.name for field in fields(Row)}, {}
    for number, line in enumerate(lines, 1):
        try:
            values = {name: value for name, value in json.loads(line).items() if name in names}
            row = Row(**{**values, **{name: tuple(values[name]) for name in ("finalisation", "compute")}})
        except (ValueError, TypeError, KeyError, AttributeError):
            raise PointsError(f"{path}, line {number}: wanted a row of this command, found {line[:60]!r}; remove the "
                              "line, and its point is measured again.") from None
        rows[row.key] = row
    return rows


def write_rows(rows: Iterable[Row], path: Path) -> None:
    """Writes the rows; the file appears when it is whole.

    Raises:
        OutputError: it cannot be written.
    """
    _write(path, "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows))


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}; make room and run the same command, it goes "
                          "on.") from None


# -- the table ---------------------------------------------------------------------------------------


def table(rows: Sequence[Row], heard: str, command: str) -> str:
    """The rows as Markdown, under a sentence with what was heard and the command that made them."""
    lines = [f"On {heard}, streaming path; packed: through zlib. `{command}`", "", f"| {' | '.join(HEAD)} |",
             "|" + "---|" * len(HEAD)]
    for row in rows:
        sizes = [f"{value / 1e6:.1f}" for value in (row.parameters, row.nonzero, row.bytes, row.packed)]
        errors = f"{row.substitutions} / {row.deletions} / {row.insertions}"
        times = [" / ".join(figure(value, 1000, ".0f") for value in pair) for pair in (row.finalisation, row.compute)]
        cells = [row.title, *sizes, figure(row.wer, 100, ".1f"), errors, figure(row.rtf, 1, ".3f"), *times]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def heard(rows: Sequence[Row], manifest: Path, threads: int, machine: str) -> str:
    """What the rows were measured on, for a person."""
    count = f" ({rows[0].clips} clips, {rows[0].words} words)" if rows else ""
    return f"{manifest.stem}{count}, {threads} threads of {machine}"


def figure(value: float | None, scale: float, form: str) -> str:
    """A figure for a person; a dash where there is none."""
    return "-" if value is None else format(value * scale, form)


def check_markers(path: Path) -> str:
    """The text of a file that has a place for the table.

    Raises:
        UsageError: unreadable, or not one pair of markers in it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from None
    if (text.count(BEGIN), text.count(END)) != (1, 1) or text.index(END) < text.index(BEGIN):
        raise UsageError(f"{path}: wanted {BEGIN} and after it {END}, once each, around the place of the table; "
                         "write them there.")
    return text


def put_table(path: Path, markdown: str) -> None:
    """Replaces what is between the markers of a file; see `check_markers`."""
    text = check_markers(path)
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END):]
    _write(path, f"{before}\n{markdown}\n{after}")
