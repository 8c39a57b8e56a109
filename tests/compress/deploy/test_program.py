"""The wheel of device_asr for another machine; the build itself is tried in tests/e2e."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compress.deploy import program
from device_asr.errors import DeviceAsrError, UsageError
from tests.support import deployed


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the build reads, with something that an earlier build left."""
    root = tmp_path / "checkout"
    for folder in ("device_asr/runtime/lib", "device_asr/runtime/prebuilt/aarch64", "compress/__pycache__"):
        (root / folder).mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE", "device_asr/runtime/_native.abi3.so"):
        (root / name).touch()
    (root / "device_asr/runtime/prebuilt/aarch64/_native.abi3.so").touch()
    return root


def built(name: str, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Replaces pip by one that makes a wheel of that name; returns the sources that it saw."""
    seen: list[Path] = []

    def pip(arguments: list[str], environment: dict[str, str], cwd: Path) -> None:
        assert environment["DEVICE_ASR_BUILD_MACHINE"] == "aarch64" and environment["PATH"] == os.environ["PATH"]
        seen.extend(path.relative_to(cwd) for path in cwd.rglob("*") if path.is_file())
        folder = Path(arguments[arguments.index("--wheel-dir") + 1])
        deployed.wheel(folder, "device_asr").rename(folder / name)

    monkeypatch.setattr(program, "run_pip", pip)
    return seen


def test_the_build_sees_the_sources_and_nothing_that_was_built(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = built("device_asr-1.0-cp311-abi3-manylinux_2_28_aarch64.whl", monkeypatch)
    assert program.build_wheel("aarch64", tmp_path / "out", checkout).parent == tmp_path / "out"
    assert sorted(map(str, seen)) == [
        "LICENSE",
        "README.md",
        "device_asr/runtime/prebuilt/aarch64/_native.abi3.so",
        "pyproject.toml",
    ]


def test_a_wheel_without_the_native_module_is_refused(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built("device_asr-1.0-py3-none-any.whl", monkeypatch)
    with pytest.raises(DeviceAsrError, match=r"no wheel for aarch64.* sudo apt install g\+\+-aarch64-linux-gnu"):
        program.build_wheel("aarch64", tmp_path / "out", checkout)


def test_a_build_that_lacks_a_compiler_is_told_with_the_line_that_brings_it(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pip(*_: object) -> None:
        raise DeviceAsrError("pip wheel failed: no C++ compiler for x86_64 was found.")

    monkeypatch.setattr(program, "run_pip", pip)
    with pytest.raises(DeviceAsrError, match=r"was found\. .* sudo apt install g\+\+-x86-64-linux-gnu"):
        program.build_wheel("x86_64", tmp_path / "out", checkout)


def test_an_installation_without_sources_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"wanted a checkout of the repository, found no pyproject\.toml"):
        program.build_wheel("aarch64", tmp_path / "out", tmp_path)
