"""The comparison of versions: what each process gets, and the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_asr.bench.footprint import ROWS, Side, once, sides, table
from tests.support.paths import ASSETS, ROOT


def test_each_side_runs_its_own_checkout_and_runtime_with_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("DEVICE_ASR_FINAL_BEAM", "1")
    native, *_, before = sides(Path("/older"))
    assert (native.name, before.name, before.root) == ("native", "before", Path("/older"))
    for side, runtime in ((native, "native"), (before, None)):
        environ = side.environ()
        assert environ["PYTHONPATH"] == str(side.root) and environ["DEVICE_ASR_MODEL_THREADS"] == "1"
        assert environ.get("DEVICE_ASR_RUNTIME") == runtime
        assert not {"OMP_NUM_THREADS", "DEVICE_ASR_FINAL_BEAM"} & set(environ)


def test_the_table_has_medians_in_readable_units() -> None:
    runs = [dict.fromkeys(ROWS, value) for value in (1.0, 2.0**21, 9.0**9)]
    lines = table({"native": runs, "before": runs}).splitlines()
    assert lines[0] == "| 1 thread, median of 3 | native | before |" and len(lines) == 2 + len(ROWS)
    assert "| 2097152.00 s | 2097152.00 s |" in lines[2] and "| 2 MiB | 2 MiB |" in lines[4]


@pytest.mark.slow
def test_the_native_runtime_is_measured() -> None:
    found = once(Side("native", ROOT, "native"), ASSETS / "timer.flac")
    assert found["start"] > 0 and 0 < found["cpu"] < 20
    assert 30e6 < found["peak"] < 300e6 and 30e6 < found["steady"] < 300e6
    assert 0.001 <= found["heartbeat"] < 10
