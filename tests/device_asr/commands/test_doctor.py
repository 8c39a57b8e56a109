"""`device-asr doctor` with the real recognizer, on a few seconds of its clip."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from device_asr.audio.format import SAMPLE_RATE
from device_asr.cli import group
from device_asr.config import load
from device_asr.doctor import examine, worker
from device_asr.doctor.speech import CLIP, MINUTE, minute
from tests.support.scripted import Scripted
from tests.support.terminal import Terminal


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config file that is not there yet; the clip is cut behind the letter's first utterance."""
    monkeypatch.setattr(examine, "minute", lambda: minute(seconds=5.5))
    path = tmp_path / "config.toml"
    monkeypatch.setenv("DEVICE_ASR_CONFIG", str(path))
    path.write_text(f'# mine\n[session]\nfolder = "{tmp_path}"\n')
    return path


def doctor(*arguments: str) -> Result:
    return CliRunner().invoke(group, ["doctor", "--no-microphone", *arguments], standalone_mode=False)


class Sleepy(Scripted):
    """Needs a millisecond for 32 ms of speech."""

    def __init__(self) -> None:
        super().__init__([], cost=0.001)
        self.memory = None

    def close(self) -> None:
        """There is no process to end."""


def test_the_clip_is_small_and_a_minute_of_it_is_speech() -> None:
    assert CLIP.stat().st_size < 200_000
    audio = minute()
    assert len(audio) == MINUTE * SAMPLE_RATE and audio.dtype == np.float32
    assert np.array_equal(audio[-SAMPLE_RATE:], minute(seconds=MINUTE)[-SAMPLE_RATE:]) and abs(audio).max() > 0.1


def test_the_real_recognizer_is_measured_and_the_settings_are_written(config: Path) -> None:
    result = doctor("--threads", "1", "--json", "--write", "--set", "model.fast=true")
    found = json.loads(result.stdout)
    assert found["checks"]["runtime"]["name"] in ("native", "executorch")
    assert found["checks"]["model"]["streams"] is True
    (measured, *_) = found["measured"]
    assert measured["finals"] == 1 and 0 < measured["rtf"] < 5 and measured["peak_memory_bytes"] > 50e6
    assert measured["first_partial_s"]["n"] == 1 and 0 < measured["first_partial_s"]["p50"] < 10
    assert "microphone" not in found["checks"]
    assert result.return_value == (0 if found["keeps_up"] else 1)
    assert found["config"] == {"path": str(config), "written": bool(found["recommended"]["changes"])}
    written = load(config, {})
    for key, value in found["recommended"]["changes"].items():
        section, name = key.split(".")
        assert getattr(getattr(written.config, section), name) == value
    assert config.read_text().startswith("# mine\n[session]")


def test_a_machine_that_is_too_slow_has_exit_code_1_and_nothing_is_written(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "Isolated", lambda settings: Sleepy())
    before = config.read_text()
    result = doctor("--threads", "1", "--slowdown", "1000")
    assert result.return_value == 1 and "Live dictation will not keep up on this machine" in result.stdout
    assert "Write them" not in result.stdout and "--write" not in result.stderr
    assert config.read_text() == before


def test_a_pipe_is_never_asked_and_never_written_to_without_the_option(config: Path) -> None:
    before = config.read_text()
    result = doctor("--threads", "1", "--model", "en-tiny", "--set", "partial.interval_ms=640")
    assert "Recommended settings:" in result.stdout and "\x1b" not in result.stdout + result.stderr
    assert "device-asr doctor --write" in result.stderr and config.read_text() == before


def test_what_stands_in_the_way_of_measuring_is_reported_beside_the_other_checks(config: Path) -> None:
    result = doctor("--model", "no-such-model", "--json")
    found = json.loads(result.stdout)
    assert result.return_value == 1 and not found["keeps_up"] and "No model 'no-such-model'" in found["failure"]
    assert found["measured"] == [] and found["checks"]["memory"]["needed_bytes"] is None


def test_settings_for_another_device_are_not_written(config: Path) -> None:
    result = doctor("--write", "--slowdown", "16")
    assert result.exception is not None and "leave out --slowdown" in str(result.exception)


def test_without_portaudio_the_apt_line_is_given_and_the_exit_code_is_of_the_speed(config: Path) -> None:
    program = (
        "import ctypes.util; ctypes.util.find_library = lambda name: None\n"
        "from device_asr.doctor import examine, speech\n"
        "examine.minute = lambda: speech.minute(seconds=5.5)\n"
        "from device_asr.cli import main\n"
        "if __name__ == '__main__': main(['doctor', '--threads', '1', '--json'])\n"
    )
    script = config.parent / "program.py"
    script.write_text(program)
    result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    found = json.loads(result.stdout)
    assert found["checks"]["microphone"]["state"] == "warning"
    assert "sudo apt install libportaudio2" in found["checks"]["microphone"]["says"]
    assert result.returncode == (0 if found["keeps_up"] else 1) and "Traceback" not in result.stderr


@pytest.mark.e2e
def test_on_a_terminal_a_person_is_asked_and_no_leaves_the_file_alone(config: Path) -> None:
    before = config.read_text()
    script = config.parent / "program.py"
    script.write_text(
        "from device_asr.doctor import examine, speech\n"
        "examine.minute = lambda: speech.minute(seconds=5.5)\n"
        "from device_asr.cli import main\n"
        "if __name__ == '__main__':\n"
        "    main(['doctor', '--no-microphone', '--threads', '1', '--set', 'partial.interval_ms=640'])\n"
    )
    with Terminal([sys.executable, str(script)], dict(os.environ), 80, 24) as terminal:
        terminal.until(lambda text: "Write them to" in text, 60, "the question")
        terminal.press("n\r")
        assert terminal.process.wait(20) in (0, 1)
    assert config.read_text() == before
