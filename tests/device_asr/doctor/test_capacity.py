"""Free memory and disk against what is needed."""

from __future__ import annotations

from pathlib import Path

from device_asr.doctor.capacity import check_disk, check_memory
from device_asr.doctor.check import NOT_KNOWN, OK, WARNING
from device_asr.doctor.facts import Facts
from tests.support.recorded_facts import facts_of

MEBI = 2**20


def test_memory_is_compared_with_the_measured_peak(tmp_path: Path) -> None:
    assert check_memory(facts_of("pi5", tmp_path / "5"), 130 * MEBI).state == OK
    full = check_memory(facts_of("pi4", tmp_path / "4"), 130 * MEBI)
    assert full.state == WARNING and full.says.startswith("146 MiB free, ")
    assert full.figures == {"available_bytes": 150000 * 1024, "needed_bytes": 130 * MEBI}


def test_a_disk_without_room_for_a_recording_is_warned_of() -> None:
    assert check_disk(Facts(disk=10**10)).says == "10.0 GB free where sessions are kept: 87 hours with --record."
    assert check_disk(Facts(disk=10**8)).state == WARNING


def test_what_is_not_told_is_not_known(tmp_path: Path) -> None:
    assert check_memory(Facts(), 1).state == check_disk(Facts()).state == NOT_KNOWN
    assert check_memory(facts_of("pi5", tmp_path), None).state == NOT_KNOWN
