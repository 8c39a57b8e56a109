"""A verb imports what it uses: with the native runtime neither torch nor ExecuTorch, and few packages at all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from device_asr.dictation import history as sessions
from device_asr.runtime.choice import VARIABLE, native_module
from tests.support.paths import ASSETS, ROOT
from tests.support.terminal import Terminal

FORBIDDEN = ("torch", "executorch", "torchao", "jiwer", "whisper_normalizer", "scipy")
STARTS = {"__editable___device_asr_0_1_0_finder", "_distutils_hack", "sitecustomize"}  # of an environment, not ours
LISTED = """
import sys
from device_asr.cli import main
before = set(sys.modules)
try:
    main(sys.argv[1:])
finally:
    packages = {name.split(".")[0] for name in set(sys.modules) - before} | {"click"}
    print(*sorted(packages - set(sys.stdlib_module_names) - {"device_asr"}), file=sys.stderr)
"""
LISTENING = """
import sys
from pathlib import Path
from device_asr.audio import microphone
from device_asr.audio.file import FileSource
from device_asr.audio.realtime import RealtimeSource
from device_asr.cli import main
if __name__ == "__main__":
    microphone.MicrophoneSource = lambda audio: RealtimeSource(FileSource(Path(sys.argv[1])))
    main(["listen"])
"""
READING = {"numpy", "platformdirs", "soundfile", "_soundfile", "_soundfile_data", "_cffi_backend", "typing_extensions"}


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment where importing a forbidden package fails, and writes the package's name into `imported`."""
    for name in FORBIDDEN:
        code = f"open({str(tmp_path / 'imported')!r}, 'a').write('{name} ')\nraise ImportError('{name} is forbidden')\n"
        (tmp_path / f"{name}.py").write_text(code)
    return {
        **{name: value for name, value in os.environ.items() if name != VARIABLE},
        "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT))),
        "XDG_DATA_HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "DEVICE_ASR_SESSION_FOLDER": str(tmp_path / "sessions"),
    }


@pytest.fixture
def native() -> None:
    try:
        native_module()
    except ImportError as error:
        pytest.skip(f"the native module is not built: {error}")


def called(code: str, *arguments: str, env: dict[str, str]) -> tuple[str, set[str]]:
    """Standard output, and the words of the last line of standard error."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=env, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    return done.stdout, set((done.stderr.splitlines() or [""])[-1].split()) - STARTS


def forbidden(env: dict[str, str]) -> str:
    record = Path(env["XDG_DATA_HOME"]) / "imported"
    return record.read_text() if record.exists() else ""


@pytest.mark.parametrize(
    ("arguments", "packages"),
    [
        (["--help"], set()),
        (["transcribe", "--help"], set()),
        (["config", "--help"], set()),
        (["history"], {"platformdirs"}),
        (["models", "list"], {"numpy", "platformdirs"}),
    ],
)
def test_a_verb_imports_few_packages(arguments: list[str], packages: set[str], env: dict[str, str]) -> None:
    assert called(LISTED, *arguments, env=env)[1] <= {"click"} | packages
    assert forbidden(env) == ""


def test_transcribe_imports_what_reading_and_computing_need(native: None, env: dict[str, str]) -> None:
    text, packages = called(LISTED, "transcribe", str(ASSETS / "timer.flac"), env=env)
    assert "timer" in text
    assert packages <= {"click"} | READING
    assert forbidden(env) == ""


@pytest.mark.serial
def test_listen_and_its_recognizer_import_no_torch(native: None, env: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "listening.py"
    script.write_text(LISTENING)
    command = [sys.executable, str(script), str(ASSETS / "timer.flac")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=90)
    assert "timer" in done.stdout, done.stderr
    assert forbidden(env) == ""


@pytest.fixture
def terminal(env: dict[str, str]) -> Iterator[Terminal]:
    command = [sys.executable, "-m", "device_asr.cli", "--source", str(ASSETS / "timer.flac")]
    with Terminal(command, env, 80, 24) as opened:
        yield opened


@pytest.mark.serial
def test_the_interface_and_its_recognizer_import_no_torch(
    native: None, env: dict[str, str], terminal: Terminal, tmp_path: Path
) -> None:
    terminal.until(lambda screen: "Set a timer" in screen, 60, "the text")
    terminal.until(lambda screen: any(s.lines for s in sessions.list_sessions(tmp_path / "sessions")), 30, "a final")
    assert forbidden(env) == ""


def test_a_forbidden_import_would_be_seen(env: dict[str, str]) -> None:
    pytest.importorskip("torch")
    command = [sys.executable, "-m", "device_asr.cli", "transcribe", str(ASSETS / "timer.flac")]
    done = subprocess.run(command, env=env | {VARIABLE: "executorch"}, capture_output=True, text=True)
    assert done.returncode == 1 and "torch is forbidden" in done.stderr
    assert "pip install 'device-asr[executorch]'" in done.stderr and "Traceback" not in done.stderr
    assert forbidden(env) == "torch "


def test_the_offline_stage_names_its_extra(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n")
    done = subprocess.run([sys.executable, "-m", "compress.cli", "build", "x"], env=env, capture_output=True, text=True)
    assert done.returncode == 1 and "pip install 'device-asr[compress]'" in done.stderr
    assert "Traceback" not in done.stderr
