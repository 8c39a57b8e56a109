"""Dependencies of a wheel for another machine and Python, and what pip's failures become."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from compress.deploy import wheels
from compress.deploy.target import Target
from device_asr.errors import DeviceAsrError
from tests.support import deployed

TARGET = Target("toy", "aarch64", 1)


def lacking(folder: Path, python: str) -> list[str]:
    return [str(wanted) for wanted in wheels.lacking(folder.glob("*.whl"), TARGET, python)]


def test_a_dependency_is_lacking_until_a_wheel_satisfies_it(tmp_path: Path) -> None:
    deployed.wheel(tmp_path, "device_asr", requires=("numpy>=2,<3", "Typing.Extensions"))
    assert lacking(tmp_path, "3.11") == ["numpy<3,>=2", "Typing.Extensions"]
    deployed.wheel(tmp_path, "typing_extensions", "4.0")  # names are equal without case, - _ and .
    (old := deployed.wheel(tmp_path, "numpy", "1.26"))
    assert lacking(tmp_path, "3.11") == ["numpy<3,>=2"]
    old.unlink()
    deployed.wheel(tmp_path, "numpy", "2.1")
    assert lacking(tmp_path, "3.11") == []


def test_markers_are_those_of_the_device_and_not_of_this_machine(tmp_path: Path) -> None:
    requires = (
        'a; python_version < "3.13"',
        'b; sys_platform == "win32"',
        'c; platform_machine == "aarch64"',
        'd; extra == "more"',
    )
    deployed.wheel(tmp_path, "device_asr", requires=requires)
    assert [name[0] for name in lacking(tmp_path, "3.11")] == ["a", "c"]
    assert [name[0] for name in lacking(tmp_path, "3.13")] == ["c"]


def test_what_pip_leaves_out_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def pip(arguments: list[str]) -> None:
        asked.append(arguments[arguments.index("--dest") + 2 :])
        deployed.wheel(tmp_path, "b" if len(asked) > 1 else "a")

    program = deployed.wheel(tmp_path / "own", "device_asr", requires=("a", 'b; python_version >= "3.11"'))
    monkeypatch.setattr(wheels, "run_pip", pip)
    found = wheels.download(program, TARGET, "3.11", tmp_path)
    assert [path.name[0] for path in found] == ["a", "b"]
    assert asked == [["a", "b", "pip"], ["b"]]


def test_a_dependency_that_no_wheel_satisfies_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "run_pip", lambda arguments: None)
    program = deployed.wheel(tmp_path, "device_asr", requires=("a>3",))
    with pytest.raises(DeviceAsrError, match=r"no wheels for Python 3.11 on aarch64 that satisfy a>3"):
        wheels.download(program, TARGET, "3.11", tmp_path / "out")


def test_a_file_that_is_no_wheel_is_told(tmp_path: Path) -> None:
    (tmp_path / "a-1-py3-none-any.whl").write_text("no")
    with pytest.raises(DeviceAsrError, match="is not a wheel"):
        wheels.requirements(tmp_path / "a-1-py3-none-any.whl")


def test_pip_that_cannot_reach_an_index_is_one_sentence(tmp_path: Path) -> None:
    closed = ["--index-url", "http://127.0.0.1:9/simple", "--retries", "1", "--isolated"]
    with pytest.raises(DeviceAsrError, match=r"^pip download failed: .*index cannot be reached; check the network"):
        wheels.run_pip(["download", "no-such-package", "--dest", str(tmp_path), *closed])


def test_an_environment_without_pip_is_told_with_the_line_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "{sys.executable}: No module named pip" >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(DeviceAsrError, match="-m ensurepip"):
        wheels.run_pip(["download", "a"])


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("note\nERROR: No matching distribution found for a.\n", "No matching distribution found for a"),
        ("  device-asr: the module cannot be built: why.\nERROR: Failed to build", "the module cannot be built: why"),
        ("", "it said nothing"),
    ],
)
def test_the_reason_is_the_first_error_that_names_a_cause(said: str, sentence: str) -> None:
    assert wheels.reason(said) == sentence
