"""The command line itself: a light start, verbs by their names, former names, and `evaluate`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner

from compress import cli
from compress.checkpoints import own
from tests.support.paths import ASSETS, ROOT
from tests.support.tiny_network import tiny_checkpoint

TIMER = ASSETS / "timer.flac"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny checkpoint, and dev.jsonl with two clips in the folder above the audio."""
    pcm, rate = soundfile.read(TIMER, dtype="float32")
    own.save(tiny_checkpoint(pcm), tmp_path / "tiny")
    (tmp_path / "audio").mkdir()
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / "audio" / name, pcm, rate)
    lines = [{"audio": f"audio/{name}", "text": "set a timer", "duration": 2.848} for name in ("a.wav", "b.wav")]
    (tmp_path / "dev.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def evaluate(folder: Path, *more: str) -> str:
    arguments = ["evaluate", str(folder / "tiny"), str(folder / "dev.jsonl"), *more]
    found = CliRunner().invoke(cli.group, arguments, catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


def test_the_list_of_verbs_loads_no_torch() -> None:
    script = "import sys; from compress import cli\ntry: cli.main()\nfinally: print('torch' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", script, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert all(verb in found.stdout for verb in cli.VERBS)
    assert found.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_tells_its_options(verb: str) -> None:
    found = CliRunner().invoke(cli.group, [verb, "--help"], catch_exceptions=False)
    assert found.exit_code == 0 and "Usage:" in found.output


@pytest.mark.parametrize(("former", "name"), cli.FORMER.items())
def test_a_former_name_is_answered_with_the_new_one(former: str, name: str) -> None:
    found = CliRunner().invoke(cli.group, [former, "--clips", "3"])
    assert found.exit_code == 2 and f"{former!r} is now called {name!r}." in found.output


def test_an_unknown_verb_is_answered_with_the_nearest() -> None:
    found = CliRunner().invoke(cli.group, ["evalute"])
    assert found.exit_code == 2 and "Did you mean 'evaluate'?" in found.output


def test_evaluate_prints_an_object_a_clip_with_the_audio_relative_to_the_manifest(folder: Path) -> None:
    rows = [json.loads(line) for line in evaluate(folder, "--json", "--short-context").splitlines()]
    assert [row["audio"] for row in rows] == ["audio/a.wav", "audio/b.wav"]
    assert all(set(row) == {"audio", "text"} for row in rows) and rows[0]["text"] == rows[1]["text"]


def test_evaluate_reads_the_first_clips_in_chunks_through_the_ctc_head(folder: Path) -> None:
    assert len(evaluate(folder, "--limit", "1", "--chunks", "8,50,1", "--ctc").splitlines()) == 1
    errors = json.loads(evaluate(folder, "--short-context", "--wer"))
    assert errors["words"] == 6 and errors["clips"] == 2 and errors["wer"] >= 0


def test_evaluate_refuses_chunks_that_are_none(folder: Path) -> None:
    for value in ("16,250", "16,250,x"):
        arguments = ["evaluate", str(folder / "tiny"), str(folder / "dev.jsonl"), "--chunks", value]
        found = CliRunner().invoke(cli.group, arguments)
        assert found.exit_code == 2 and "three whole numbers" in found.output
