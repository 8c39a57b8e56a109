"""The build of the native runtime: with a compiler, without one, for another machine, and where it is not possible."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from device_asr.runtime.cpp import build, build_native
from tests.support.paths import ROOT

RECORD = json.loads(build.RECORD.read_text(encoding="utf-8"))
MACHINES = sorted(build.SHA256)


def a_wheel(folder: Path, machine: str) -> Path:
    """A file with the name and layout of ExecuTorch's wheel, whose libraries hold a word each."""
    path = folder / f"executorch-{build.EXECUTORCH}-cp311-cp311-manylinux_2_28_{machine}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in build_native.NAMES:
            archive.writestr(f"executorch/lib/libexecutorch{name}.so", "\0GLIBC_2.17\0libexecutorch.so\0")
    return path


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A machine whose wheel is at hand, where PATH holds no compiler; loading the module is left out."""
    wheel = a_wheel(tmp_path, request.param)
    monkeypatch.setitem(build.SHA256, request.param, hashlib.sha256(wheel.read_bytes()).hexdigest())
    monkeypatch.setenv("DEVICE_ASR_BUILD_WHEEL", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(build, "check_that_it_loads", lambda target, machine: None)
    return str(request.param)


def test_the_prebuilt_modules_are_made_of_these_sources() -> None:
    assert RECORD["sources"] == build.sources(), (
        "the C++ files changed; make the prebuilt modules anew: python -m device_asr.runtime.cpp.build --prebuilt"
    )
    assert RECORD["executorch"] == build.EXECUTORCH


@pytest.mark.parametrize("machine_name", MACHINES)
def test_a_prebuilt_module_is_that_of_the_record_and_small(machine_name: str) -> None:
    data = (build.PREBUILT / machine_name / build.MODULE.name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == RECORD["modules"][machine_name]
    assert len(data) < 100_000
    assert {"x86_64": b"\x3e\x00", "aarch64": b"\xb7\x00"}[machine_name] == data[18:20]  # the machine of an ELF file
    assert build.newest(b"GLIBC", data) <= build.GLIBC and build.newest(b"GLIBCXX", data) <= build.GLIBCXX


def test_without_a_compiler_the_prebuilt_module_is_taken(machine: str, tmp_path: Path) -> None:
    made = build.build(tmp_path / "out", machine)
    assert made["how"] == f"prebuilt (no C++ compiler for {machine} was found)"
    assert made["platform"] == f"manylinux_2_28_{machine}"
    prebuilt = build.PREBUILT / machine / build.MODULE.name
    assert (tmp_path / "out" / build.MODULE.name).read_bytes() == prebuilt.read_bytes()
    assert len(list((tmp_path / "out/lib").iterdir())) == len(build_native.NAMES)
    assert json.loads((tmp_path / "out/build.json").read_text()) == made


def test_a_prebuilt_module_of_other_sources_is_not_taken(machine: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(build, "sources", lambda: {})
    with pytest.raises(build.BuildError, match="older than the C\\+\\+ files; make them anew"):
        build.build(tmp_path / "out", machine)
    assert not (tmp_path / "out/lib").exists()


def test_a_wheel_that_was_changed_is_refused(machine: str, tmp_path: Path) -> None:
    next(tmp_path.glob("*.whl")).open("ab").write(b"x")
    with pytest.raises(build.BuildError, match=r"wanted the sha256 .*, found"):
        build.build(tmp_path / "out", machine)


def test_a_failure_on_this_machine_leaves_no_module_and_says_why(tmp_path: Path, monkeypatch) -> None:
    for name in (build.MODULE.name, "build.json"):
        (tmp_path / name).write_text("of an earlier build")
    monkeypatch.setenv("DEVICE_ASR_BUILD_WHEEL", str(tmp_path / "missing"))
    monkeypatch.setattr(build, "check_this_machine", lambda: None)
    made = build.build(tmp_path)
    assert made["how"] is None and "found no file" in made["reason"]
    assert [path.name for path in tmp_path.iterdir()] == ["build.json"]


def test_without_a_network_the_sentence_names_the_file_that_would_do(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("DEVICE_ASR_BUILD_WHEEL", raising=False)
    for name, value in {"INDEX_URL": "http://127.0.0.1:9/", "RETRIES": "0", "NO_CACHE_DIR": "1"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(build.BuildError, match=r"with a network, or set DEVICE_ASR_BUILD_WHEEL .* executorch-1\.5\.1-"):
        build.build(tmp_path, "aarch64")


@pytest.mark.parametrize(
    ("libc", "machine_name"), [(None, "x86_64"), ("glibc 2.27", "aarch64"), ("glibc 2.36", "armv7l")]
)
def test_other_platforms_are_refused(libc: str | None, machine_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "confstr", lambda name: libc)
    monkeypatch.setattr(platform, "machine", lambda: machine_name)
    with pytest.raises(build.BuildError, match=r"needs 64-bit Linux on x86_64 or aarch64 with glibc 2.28 or later"):
        build.check_this_machine()


def test_a_module_that_needs_a_newer_glibc_is_for_this_machine_alone(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    for version, tag in {b"2.28": "manylinux_2_28_x86_64", b"2.34": "linux_x86_64"}.items():
        (tmp_path / build.MODULE.name).write_bytes(b"\0GLIBC_2.2.5\0GLIBC_" + version + b"\0GLIBCXX_3.4.22\0")
        assert build.platform_tag(tmp_path, "x86_64") == tag


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the prebuilt module is tried on x86-64")
def test_the_prebuilt_module_passes_the_tests_of_the_runtime(tmp_path: Path) -> None:
    """In a copy of the repository that is built without a compiler; pip fetches the libraries."""
    for name in ("models", "assets", "compress", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("device_asr", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "lib", "_native*"))
    shutil.copytree(build.PREBUILT, tmp_path / build.PREBUILT.relative_to(ROOT), dirs_exist_ok=True)
    environ = os.environ | {"PATH": str(tmp_path), "PYTHONPATH": str(tmp_path), "CXX": ""}
    made = [sys.executable, "-m", "device_asr.runtime.cpp.build"]
    said = subprocess.run(made, env=environ, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said.startswith("native runtime: prebuilt")
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/device_asr/runtime"]
    done = subprocess.run([*tests, "-k", "native"], env=environ, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout and "skipped" not in done.stdout
