"""`deploy`: what is refused before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from compress import cli
from compress.deploy import guest, package
from device_asr.errors import DeviceAsrError, UsageError


def refused(tmp_path: Path, *arguments: str) -> str:
    found = CliRunner().invoke(cli.group, ["deploy", "--out", str(tmp_path / "out"), *arguments])
    assert isinstance(found.exception, DeviceAsrError), found.output
    assert not (tmp_path / "out").exists()
    return str(found.exception)


def test_a_target_or_a_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "Did you mean 'rpi5'?" in refused(tmp_path, "--target", "rpi55")
    assert "no-such" in refused(tmp_path, "--target", "rpi5", "--model", "no-such")
    assert "--python" in refused(tmp_path, "--target", "rpi5", "--python", "2.7")


def test_a_python_that_no_release_of_debian_has_cannot_be_checked(tmp_path: Path) -> None:
    said = refused(tmp_path, "--target", "rpi5", "--python", "3.12", "--check")
    assert said == "--check: wanted a Python of Debian, 3.11 or 3.13, found 3.12."


def test_a_check_that_cannot_run_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def require(target: object) -> None:
        raise DeviceAsrError("QEMU is missing")

    def make(*_: object) -> None:
        raise UsageError("it was made")

    monkeypatch.setattr(guest, "require", require)
    monkeypatch.setattr(package, "make", make)
    assert refused(tmp_path, "--target", "rpi5", "--check") == "QEMU is missing"
    assert refused(tmp_path, "--target", "rpi5") == "it was made"
