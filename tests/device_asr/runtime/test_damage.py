"""Damaged programs: a sentence, not a crash, where the native runtime can help it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.device_asr.runtime.conftest import opener


def endings(runtime: str, program: Path, first: int, count: int) -> Counter[str]:
    opener(runtime)
    command = [sys.executable, "-m", "tests.support.damage", runtime, program, first, count]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=290)
    assert done.returncode == 0, done.stderr
    return Counter(json.loads(done.stdout))


def test_damaged_programs_run_or_are_refused(tiny: Path) -> None:
    found = endings("native", tiny, 0, 100)
    assert set(found) == {"ran", "refused"}, found
    assert found["refused"] > 50


@pytest.mark.slow
def test_hardly_a_damaged_program_ends_the_process(tiny: Path) -> None:
    found = endings("native", tiny, 100, 10_000)
    print(dict(found))
    assert found["ran"] + found["refused"] >= 0.998 * found.total(), found
    assert not found["other"] and not found["SIGABRT"] and not found["SIGALRM"], found
