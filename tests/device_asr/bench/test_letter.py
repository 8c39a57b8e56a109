"""The benchmark with the shipped model over the shipped letter."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from device_asr.bench.noise import KINDS, recognize_noise
from device_asr.bench.table import table
from device_asr.bundle.bundle import find_bundles
from device_asr.commands.bench import command
from device_asr.config import Config
from device_asr.recognition.assemble import assemble
from tests.support.paths import ASSETS
from tests.support.virtual_microphone import VirtualMicrophone, missing

LETTER = ASSETS / "letter.flac"


needs_model = pytest.mark.skipif(
    "en-tiny" not in {path.name for path in find_bundles()}, reason="the model en-tiny has not been built"
)


@pytest.fixture
def letter(tmp_path: Path) -> Path:
    """The shipped letter as a manifest."""
    shutil.copy(LETTER, tmp_path / "letter.flac")
    text = " ".join(line.split("\t")[2] for line in LETTER.with_suffix(".tsv").read_text().splitlines())
    manifest = tmp_path / "letter.jsonl"
    manifest.write_text(json.dumps({"audio": "letter.flac", "text": text}))
    return manifest


@needs_model
def test_the_shipped_model_makes_no_word_of_noise() -> None:
    recognizer = assemble(Config())
    assert [recognize_noise(recognizer, kind, 10).words for kind in KINDS] == [0] * len(KINDS)


@pytest.mark.e2e
@pytest.mark.serial
@pytest.mark.slow
@needs_model
@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_the_shipped_model_recognizes_the_letter_through_a_real_microphone(
    letter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from device_asr.audio import devices

    with VirtualMicrophone() as microphone:
        for name, value in microphone.changes.items():
            monkeypatch.setenv(name, value)
        devices.refresh()
        result = CliRunner().invoke(
            command,
            [
                str(letter),
                "--realtime",
                "--device",
                "default",
                "--player",
                "paplay --device=vmic --latency-msec=60",
                "--json",
            ],
            catch_exceptions=False,
        )
    record = json.loads(result.stdout)
    (found,) = record["corpora"]
    print(table(record))
    assert record["clock"] == "wall" and record["realtime"]["overflows"] == 0
    assert found["wer"] <= 0.15 and found["finals"] >= 5
    assert 0.3 < found["first_partial"]["p50"] < 3
    assert 0.5 < found["finalization"]["p50"] < 3
    assert found["finalization_no_hangover"]["p50"] < found["finalization"]["p50"]


def _alive(process: psutil.Process) -> bool:
    """Not ended; a zombie has ended, and waits for whoever adopted it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.e2e
@needs_model
@pytest.mark.skipif(sys.platform == "win32", reason="no process groups")
def test_ctrl_c_ends_it_at_once_without_a_traceback_or_a_process_left(letter: Path, tmp_path: Path) -> None:
    detail = tmp_path / "detail.jsonl"
    arguments = [sys.executable, "-m", "device_asr.cli", "bench", str(letter), "--realtime", "--detail", str(detail)]
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    end = time.monotonic() + 30
    while time.monotonic() < end and not psutil.Process(process.pid).children():
        time.sleep(0.1)
    children = psutil.Process(process.pid).children(recursive=True)
    time.sleep(3)  # loaded, and in the middle of the letter
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.strip()) == (130, "", "")
    end = time.monotonic() + 5
    while time.monotonic() < end and any(map(_alive, children)):
        time.sleep(0.1)
    assert children and not any(map(_alive, children))
    assert not detail.exists()


@needs_model
def test_the_shipped_model_recognizes_the_letter(letter: Path) -> None:
    result = CliRunner().invoke(command, [str(letter), "--json"], catch_exceptions=False)
    (found,) = json.loads(result.stdout)["corpora"]
    assert found["wer"] <= 0.15 and found["loops"] == 0
    assert found["finals"] == found["utterances"] >= 5
    assert 0 < found["rtf"] < 1 and found["flicker"] <= found["flicker_strict"]
    assert 0.5 < found["finalization"]["p50"] < 1.5
