"""Rows of measurements: read as they were written, by older and newer programs, and a damaged line is named."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from compress.evaluate.measurement import Measurement, MeasurementError, read_rows, write_rows
from device_asr.errors import OutputError

ROWS = [
    Measurement(
        "0",
        settings={"bits": 8},
        parameters=5,
        bytes=6,
        loss=1.5,
        wer=0.0,
        rtf=0.2,
        compute_p95=0.3,
        memory=7,
        seconds=8.5,
        bundle="b",
        report={"removed": [1, 2]},
    ),
    Measurement("1", state="cut", reason="too large", estimated=True, worked=False),
]


def test_rows_are_read_as_written_by_older_and_newer_programs(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(ROWS, path)
    assert read_rows(path) == ROWS
    assert [file.name for file in tmp_path.iterdir()] == ["rows.jsonl"]
    path.write_text(json.dumps({**asdict(ROWS[0]), "invented_later": 1}) + "\n")
    assert read_rows(path) == ROWS[:1]
    assert read_rows(tmp_path / "none.jsonl") == []


def test_what_was_not_measured_is_not_written(tmp_path: Path) -> None:
    write_rows(ROWS, tmp_path / "rows.jsonl")
    first, second = map(json.loads, (tmp_path / "rows.jsonl").read_text().splitlines())
    assert first["wer"] == 0.0 and "packed" not in first
    assert second == {"name": "1", "state": "cut", "reason": "too large", "estimated": True, "worked": False}


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    for line in ('{"wer": 1}', '{"name": "a", "we', "[]", "7"):
        path.write_text(f'{{"name": "a"}}\n{line}\n')
        with pytest.raises(MeasurementError, match="line 2: wanted an object with a name, found"):
            read_rows(path)
    path.write_bytes(b"\xff")
    with pytest.raises(MeasurementError, match="cannot be read"):
        read_rows(path)


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="make room and run the same command"):
        write_rows(ROWS, tmp_path / "none" / "rows.jsonl")
