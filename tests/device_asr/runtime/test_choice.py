"""Which runtime is chosen, and what people are told of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from device_asr.errors import BundleError
from device_asr.runtime import choice
from device_asr.runtime.choice import EXECUTORCH, NATIVE, VARIABLE, runtime
from tests.device_asr.runtime.conftest import opener
from tests.support.paths import ASSETS


@pytest.fixture(autouse=True)
def _chosen_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "runtime", runtime.__wrapped__)
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def no_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "device_asr.runtime._native", None)


def test_the_native_runtime_is_the_default() -> None:
    opener(NATIVE)
    found = choice.runtime()
    assert (found.name, found.reason, found.fallback) == (NATIVE, "the default", False)
    assert str(found).startswith("native (ExecuTorch 1.5.1; instructions: ")


@pytest.mark.parametrize("name", choice.NAMES)
def test_the_variable_forces_a_runtime(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    opener(name)
    monkeypatch.setenv(VARIABLE, name)
    found = choice.runtime()
    assert (found.name, found.reason, found.fallback) == (name, f"since {VARIABLE} says so", False)


def test_without_the_module_the_binding_runs_and_says_why(no_module: None) -> None:
    found = choice.runtime()
    assert (found.name, found.fallback) == (EXECUTORCH, True)
    assert "since the native module cannot be loaded (" in found.reason


def test_a_forced_module_that_is_missing_is_one_sentence(no_module: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, NATIVE)
    with pytest.raises(BundleError, match=r"DEVICE_ASR_RUNTIME=native: the native module cannot be loaded \(.+\); "):
        choice.runtime()


def test_an_unknown_runtime_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "onnx")
    with pytest.raises(BundleError, match="wanted native or executorch, found 'onnx'; set it to one, or unset it"):
        choice.runtime()


def command(*arguments: object, without_module: bool = False, **variables: str) -> subprocess.CompletedProcess[str]:
    """`device-asr` in a process of its own, as if the module were not built."""
    hidden = "sys.modules['device_asr.runtime._native'] = None; " if without_module else ""
    code = f"import sys; {hidden}from device_asr.cli import main; main(sys.argv[1:])"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**{k: v for k, v in os.environ.items() if k != VARIABLE}, **variables},
    )


def test_a_fallback_is_said_once_and_not_among_the_output() -> None:
    opener(EXECUTORCH)
    usual = command("transcribe", ASSETS / "timer.flac", "--format", "srt")
    fallback = command("transcribe", ASSETS / "timer.flac", "--format", "srt", without_module=True)
    assert fallback.returncode == 0
    assert fallback.stdout == usual.stdout
    (line,) = fallback.stderr.splitlines()
    assert line.startswith("device-asr: Slow: executorch runs the model, since the native module cannot be loaded (")


def test_a_wanted_runtime_is_no_fallback() -> None:
    opener(EXECUTORCH)
    done = command("transcribe", ASSETS / "timer.flac", DEVICE_ASR_RUNTIME=EXECUTORCH)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_model_is_shown_with_its_runtime() -> None:
    opener(NATIVE)
    assert "  runtime: native (ExecuTorch 1.5.1; instructions: " in command("models", "show", "en-tiny").stdout
    forced = command("models", "show", "en-tiny", DEVICE_ASR_RUNTIME=EXECUTORCH).stdout
    assert "  runtime: executorch (ExecuTorch 1.5" in forced and "since DEVICE_ASR_RUNTIME says so" in forced


def test_a_wrong_runtime_is_said_before_the_work(tmp_path: Path) -> None:
    done = command("transcribe", tmp_path / "none.wav", DEVICE_ASR_RUNTIME="onnx")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("device-asr: DEVICE_ASR_RUNTIME: wanted native or executorch, found 'onnx'")
