"""Reading what the system tells."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from device_asr.doctor.facts import Facts, read, read_files


def test_files_are_read_by_their_path_and_missing_ones_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text("processor\t: 0\n")
    assert read_files(tmp_path) == {"/proc/cpuinfo": "processor\t: 0\n"}


def test_zero_bytes_of_the_device_tree_are_no_part_of_a_text() -> None:
    facts = Facts({"/proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"})
    assert facts.text("/proc/device-tree/model") == "Raspberry Pi 5 Model B Rev 1.0"
    assert facts.text("/proc/cpuinfo") is None


def test_this_machine_tells_its_processors_memory_and_disk(tmp_path: Path) -> None:
    facts = read(tmp_path / "not" / "there" / "yet")
    assert "processor" in facts.files["/proc/cpuinfo"] and "MemAvailable" in facts.files["/proc/meminfo"]
    assert facts.usable == len(os.sched_getaffinity(0)) and facts.bits == 64
    assert facts.disk and facts.disk > 0


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo throttled=0x50000", "throttled=0x50000\n"),
        ("echo 'VCHI initialization failed' >&2; exit 255", None),  # a user who is not in the group video
    ],
)
def test_the_firmware_is_asked_where_its_tool_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, told: str | None
) -> None:
    tool = tmp_path / "vcgencmd"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert read(tmp_path).throttled == told


def test_only_a_sound_server_that_answers_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("PULSE_SERVER", raising=False)
    (tmp_path / "pulse").mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "pulse" / "native"))  # the socket of a server that was killed stays
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "pipewire-0"))
        server.listen()
        assert read(tmp_path).sound.servers == ("PipeWire",)
    assert read(tmp_path).sound.servers == ()
