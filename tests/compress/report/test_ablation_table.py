"""The table of ablations: sizes, errors and times of each row, and the command that made it."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from pathlib import Path

from compress.evaluate.measurement import Measurement
from compress.report.ablation_table import packed_bytes, table

ROW = Measurement(
    "int8",
    "+ int8",
    "00ff",
    parameters=22_400_000,
    nonzero=22_000_000,
    bytes=23_456_789,
    packed=20_123_456,
    clips=50,
    words=1050,
    substitutions=128,
    deletions=15,
    insertions=34,
    wer=0.16857,
    rtf=0.0654,
    finalization_p50=0.6221,
    finalization_p95=0.8499,
    compute_p50=0.0281,
    compute_p95=0.1134,
)


def test_the_table_has_a_line_a_row_with_the_command_that_made_it() -> None:
    silent = replace(
        ROW,
        title="silent",
        wer=None,
        rtf=None,
        finalization_p50=None,
        finalization_p95=None,
        compute_p50=None,
        compute_p95=None,
    )
    lines = table([ROW, silent], "dev (50 clips), 2 threads of a toy", "device-asr-compress ablate").splitlines()
    assert (
        lines[0] == "On dev (50 clips), 2 threads of a toy, streaming path; packed: through zlib. "
        "`device-asr-compress ablate`"
    )
    assert lines[4] == ("| + int8 | 22.4 | 22.0 | 23.5 | 20.1 | 16.9 | 128 / 15 / 34 | 0.065 | 622 / 850 | 28 / 113 |")
    assert lines[5].endswith("| - | 128 / 15 / 34 | - | - / - | - / - |")
    assert len({line.count("|") for line in lines[2:]}) == 1


def test_packed_bytes_are_those_of_the_files_through_zlib(tmp_path: Path) -> None:
    (tmp_path / "model.pte").write_bytes(bytes(3_000_000))
    (tmp_path / "manifest.json").write_text(json.dumps({"files": {"model.pte": {"bytes": 3_000_000}}}))
    assert packed_bytes(tmp_path) == len(zlib.compress(bytes(3_000_000), 6))
