"""The folder and its archive: what is in them, and that they are never half-written."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from compress.deploy import package
from device_asr.errors import DeviceAsrError, OutputError, UsageError
from tests.support import deployed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder to make bundles in."""
    (tmp_path / "made").mkdir()
    return tmp_path / "made"


@pytest.fixture(autouse=True)
def wheels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Wheels without network: the program, one dependency, and something that stands for pip."""

    def download(program: Path, target: object, python: str, folder: Path) -> list[Path]:
        return [deployed.wheel(folder, "a"), deployed.wheel(folder, "pip", "25.0")]

    monkeypatch.setattr(package, "build_wheel", lambda machine, folder: deployed.wheel(folder, "device_asr", "0.1.0"))
    monkeypatch.setattr(package, "download", download)
    yield


def contents(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_folder_and_the_archive_hold_the_same_files(folder: Path) -> None:
    made = deployed.make(folder / "out")
    assert made.archive == folder / "out.tar.gz"
    files = contents(made.folder)
    assert {"install.sh", "uninstall.sh", "README.txt", "SHA256SUMS", "contents", "letter.flac"} <= files
    assert {"device-asr-listen.service", "wheels/a-1.0-py3-none-any.whl", "models/toy/model.pte"} <= files
    assert (made.folder / f"wheels/python-{deployed.PYTHON}.txt").read_text().splitlines() == [
        "./wheels/device_asr-0.1.0-py3-none-any.whl",
        "./wheels/a-1.0-py3-none-any.whl",
    ]
    with tarfile.open(made.archive) as archive:
        entries = archive.getmembers()
    assert {entry.name.removeprefix("out/") for entry in entries} == files
    assert {entry.name for entry in entries if entry.mode == 0o755} == {"out/install.sh", "out/uninstall.sh"}
    assert {(entry.uid, entry.uname, entry.mtime) for entry in entries} == {(0, "", 0)}
    assert made.unpacked == sum(len((made.folder / file).read_bytes()) for file in files)
    assert (made.folder / "models/toy/model.pte").read_text() == "model.pte of toy\n"


def test_checksums_are_of_every_file_and_in_the_form_of_sha256sum(folder: Path) -> None:
    made = deployed.make(folder / "out")
    lines = dict(reversed(line.split("  ")) for line in (made.folder / "SHA256SUMS").read_text().splitlines())
    assert set(lines) == contents(made.folder) - {"SHA256SUMS"}
    assert lines["install.sh"] == hashlib.sha256((made.folder / "install.sh").read_bytes()).hexdigest()
    checked = subprocess.run(["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"], cwd=made.folder)
    assert checked.returncode == 0


def test_the_text_for_people_has_no_place_that_is_not_filled(folder: Path) -> None:
    text = (deployed.make(folder / "out").folder / "README.txt").read_text()
    assert "$" not in text and "@" not in text
    assert f"device_asr 0.1.0 for here ({deployed.HERE.machine}, Python {deployed.PYTHON})" in text


def test_a_second_run_replaces_the_folder_with_equal_bytes(folder: Path) -> None:
    first = deployed.make(folder / "out").archive.read_bytes()
    (folder / "out" / "stray").touch()
    second = deployed.make(folder / "out")
    assert "stray" not in contents(second.folder)
    assert second.archive.read_bytes() == first
    assert sorted(path.name for path in folder.iterdir()) == ["out", "out.tar.gz"]


def test_a_name_that_is_no_folder_is_refused(folder: Path) -> None:
    bundle = deployed.model(folder)
    with pytest.raises(UsageError, match=r"Model '\.\./x y': wanted a name of letters"):
        package.make(deployed.HERE, replace(bundle, manifest={"name": "../x y"}), folder / "out", lambda *_: None)


def test_a_folder_of_other_files_is_refused_and_left_alone(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="found other files; name a folder of its own"):
        deployed.make(folder / "out")
    assert contents(folder) == {"out/mine.txt"}


def test_a_check_that_fails_leaves_what_was_there(folder: Path) -> None:
    before = deployed.make(folder / "out").archive.stat()

    def check(archive: Path) -> None:
        assert archive.is_file()
        raise DeviceAsrError("it differs")

    with pytest.raises(DeviceAsrError, match="it differs"):
        deployed.make(folder / "out", check=check)
    assert sorted(path.name for path in folder.iterdir()) == ["out", "out.tar.gz"]
    assert (folder / "out.tar.gz").stat().st_mtime_ns == before.st_mtime_ns


def test_a_place_that_cannot_be_written_is_told(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        deployed.make(folder / "file" / "out")
