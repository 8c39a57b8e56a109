"""install.sh and uninstall.sh, run on this machine in a home of their own, with a program that does nothing."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from compress.deploy import package
from tests.support import deployed

PREFIX = ".local/lib/device-asr"
UNIT = ".config/systemd/user/device-asr-listen.service"
MODEL = ".local/share/device_asr/models/toy"


def make(out: Path, monkeypatch: pytest.MonkeyPatch, version: str = "1.0", code: int = 0) -> Path:
    """A bundle with a program of that version that exits with `code`."""
    pip = deployed.pip_wheel()
    if pip is None:
        pytest.skip("this Python carries no wheel of pip (Debian: python3-pip-whl)")

    def download(program: Path, target: object, python: str, folder: Path) -> list[Path]:
        folder.mkdir()
        return [Path(shutil.copy(pip, folder))]

    def build(machine: str, folder: Path) -> Path:
        return deployed.wheel(folder, "device_asr", version, code=code)

    monkeypatch.setattr(package, "build_wheel", build)
    monkeypatch.setattr(package, "download", download)
    out.parent.mkdir(parents=True, exist_ok=True)
    return deployed.make(out).folder


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make(tmp_path / "made" / "bundle", monkeypatch)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home with something of a person in it, which is there unchanged when the test ends."""
    home = tmp_path / "home"
    (home / ".local/share/device_asr/sessions").mkdir(parents=True)
    (home / ".local/share/device_asr/sessions/one.jsonl").write_text("dictated")
    before = files(home)
    yield home
    if (home / PREFIX / "uninstall.sh").exists():
        assert run(home / PREFIX / "uninstall.sh", home).returncode == 0
    assert files(home) == before


run = deployed.run


def program(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the installed command."""
    command = [str(home / ".local/bin/device-asr"), *arguments]
    return subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def installed(bundle: Path, home: Path) -> str:
    done = run(bundle / "install.sh", home)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(bundle: Path, home: Path, **variables: str) -> str:
    """The one sentence of an installation that fails."""
    done = run(bundle / "install.sh", home, **variables)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_it_installs_the_program_the_model_and_a_service_that_is_off(bundle: Path, home: Path, tmp_path: Path) -> None:
    said = installed(bundle, home)
    assert f"verified {home / PREFIX}/releases/1.0-" in said and "models verify toy" in said
    assert program(home, "listen").stdout.split()[-1] == "listen"
    assert (home / MODEL / "model.pte").read_text() == "model.pte of toy\n"
    unit = (home / UNIT).read_text()
    assert f"ExecStart={home / PREFIX}/current/bin/device-asr listen --model toy --threads 1\n" in unit
    assert "@" not in unit
    assert not (home / ".config/systemd/user/default.target.wants").exists()
    assert "systemctl --user enable --now device-asr-listen.service" in said
    if shutil.which("systemd-analyze"):
        line = ["systemd-analyze", "--user", "--man=no", "verify", str(home / UNIT)]
        done = subprocess.run(
            line, env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}, capture_output=True, text=True
        )
        assert (done.returncode, "device-asr" in done.stderr) == (0, False), done.stderr


def test_a_second_run_changes_nothing(bundle: Path, home: Path) -> None:
    installed(bundle, home)
    before = {path: path.lstat().st_ino for path in (home / PREFIX / "releases").rglob("*")}
    assert "is installed; its links are checked" in installed(bundle, home)
    assert {path: path.lstat().st_ino for path in (home / PREFIX / "releases").rglob("*")} == before


def test_a_damaged_environment_is_made_again(bundle: Path, home: Path) -> None:
    installed(bundle, home)
    (home / PREFIX / "current/bin/device-asr").unlink()
    installed(bundle, home)
    assert program(home).returncode == 0


def test_a_damaged_or_missing_file_is_named_before_anything_is_installed(bundle: Path, home: Path) -> None:
    (bundle / "models/toy/model.pte").write_text("other")
    assert refused(bundle, home) == (
        "install.sh: models/toy/model.pte is missing or damaged; copy and unpack the archive again.\n"
    )
    (bundle / "models/toy/model.pte").unlink()
    assert "models/toy/model.pte is missing or damaged" in refused(bundle, home)


def test_another_machine_or_python_is_refused(bundle: Path, home: Path) -> None:
    for old, new, sentence in (
        (f"machine={deployed.HERE.machine}", "machine=vax", "this bundle is for vax, found"),
        (f"pythons={deployed.PYTHON}", "pythons='3.98 3.99'", "wanted Python 3.98 or 3.99 of a 64-bit system, found"),
    ):
        text = (bundle / "contents").read_text()
        assert old in text
        altered(bundle, "contents", text.replace(old, new))
        assert sentence in refused(bundle, home)
        altered(bundle, "contents", text)


def altered(bundle: Path, name: str, text: str) -> None:
    """Changes a file of a bundle, and its checksum with it."""
    sums = (bundle / "SHA256SUMS").read_text()
    old = next(line for line in sums.splitlines() if line.endswith(f"  {name}"))
    (bundle / name).write_text(text)
    new = subprocess.run(["sha256sum", name], cwd=bundle, capture_output=True, text=True, check=True).stdout
    (bundle / "SHA256SUMS").write_text(sums.replace(old + "\n", new))


def test_a_full_disk_is_told_before_anything_is_installed(bundle: Path, home: Path) -> None:
    text = (bundle / "contents").read_text()
    altered(bundle, "contents", text.replace("megabytes=", "megabytes=99999999"))
    assert "MB of free disk in" in refused(bundle, home)


def test_what_is_not_of_this_program_is_never_replaced(bundle: Path, home: Path) -> None:
    for place in (".local/bin/device-asr", UNIT):
        (home / place).parent.mkdir(parents=True)
        (home / place).write_text("mine")
        assert "is not of this program; move it away" in refused(bundle, home)
        assert (home / place).read_text() == "mine"
        (home / place).unlink()
        os.removedirs((home / place).parent)


def test_a_prefix_with_other_files_is_refused(bundle: Path, home: Path) -> None:
    assert "holds other files" in refused(bundle, home, DEVICE_ASR_PREFIX=str(home))
    assert "path that begins with /" in refused(bundle, home, DEVICE_ASR_PREFIX="here")
    assert "letters, digits" in refused(bundle, home, DEVICE_ASR_PREFIX=f"{home}/a b")


def test_sudo_is_refused(bundle: Path, home: Path) -> None:
    assert "without sudo" in refused(bundle, home, SUDO_USER="me")


def test_a_model_of_the_person_stays(bundle: Path, home: Path) -> None:
    (home / MODEL).mkdir(parents=True)
    (home / MODEL / "manifest.json").write_text("mine")
    assert "is your own and stays" in installed(bundle, home)
    assert run(home / PREFIX / "uninstall.sh", home).returncode == 0
    assert (home / MODEL / "manifest.json").read_text() == "mine"
    shutil.rmtree((home / MODEL).parent)


def test_an_installation_that_fails_leaves_nothing(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = make(tmp_path / "made" / "broken", monkeypatch, code=1)
    before = files(home)
    assert "the model does not run on this machine; see the message above" in refused(broken, home)
    assert files(home) == before


def test_an_update_that_fails_leaves_the_old_version_in_use(
    bundle: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(bundle, home)
    before = files(home)
    refused(make(tmp_path / "made" / "broken", monkeypatch, "2.0", code=1), home)
    assert files(home) == before
    assert program(home).returncode == 0


def test_an_update_replaces_the_version_before(
    bundle: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(bundle, home)
    installed(make(tmp_path / "made" / "new", monkeypatch, "2.0"), home)
    (release,) = (home / PREFIX / "releases").iterdir()
    assert release.name.startswith("2.0-") and (home / PREFIX / "current").resolve() == release


def test_two_at_once_are_refused(bundle: Path, home: Path) -> None:
    (home / PREFIX).mkdir(parents=True)
    (home / PREFIX / "folders").touch()
    other = home / PREFIX / "releases" / "of-the-other-run"
    other.mkdir(parents=True)
    with (home / PREFIX / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "another run is installing" in refused(bundle, home)
    assert other.is_dir()
    shutil.rmtree(home / PREFIX)
    os.removedirs((home / PREFIX).parent)


def test_uninstall_without_an_installation_is_one_sentence(bundle: Path, home: Path) -> None:
    done = run(bundle / "uninstall.sh", home)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "nothing is installed" in done.stderr
