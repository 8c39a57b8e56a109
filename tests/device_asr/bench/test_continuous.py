"""Speech without a pause: how it is joined, what its partials cost, and how much memory it takes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from device_asr.audio.format import SAMPLE_RATE as SECOND
from device_asr.bench.continuous import Mark, cost, feed, growth, joined, trimmed, without_pauses
from device_asr.bench.memory import Use
from device_asr.bench.timed import timed_recognizer
from device_asr.bundle.bundle import load
from device_asr.commands.soak import command as soak
from device_asr.config import load as load_config
from device_asr.errors import DeviceAsrError, UsageError
from device_asr.metrics.clips import Clip
from tests.support.paths import ASSETS

TIMER = ASSETS / "timer.flac"
CLIP = Clip(TIMER, "set a timer", None, 2.848)


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return soundfile.read(TIMER, dtype="float32")[0]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "dev.jsonl"
    path.write_text(json.dumps({"audio": str(TIMER), "text": "set a timer"}) + "\n")
    return path


def test_clips_are_joined_without_their_quiet_edges(speech: np.ndarray, tmp_path: Path) -> None:
    wide = np.concatenate([np.zeros(SECOND, np.float32), speech, np.zeros(SECOND, np.float32)])
    assert len(trimmed(wide)) <= len(speech) and np.abs(trimmed(wide)[:512]).max() > 0
    audio = np.concatenate(list(joined([CLIP], 10.0)))
    assert len(audio) == 10 * SECOND
    assert np.array_equal(audio[: 2 * len(trimmed(speech))], np.tile(trimmed(speech), 2))
    soundfile.write(tmp_path / "silence.wav", np.zeros(SECOND, np.float32), SECOND)
    with pytest.raises(DeviceAsrError, match="The clips are silent"):
        list(joined([Clip(tmp_path / "silence.wav", None, None, 1.0)], 10.0))


def test_cost_is_counted_between_edges_and_memory_after_the_warm_up() -> None:
    marks = [
        Mark(float(at), 0.1 * at + (0.1 * (at - 5) if at > 5 else 0), 0.05 * at, Use(1_000_000 + 1000 * at, 20, 5), at)
        for at in range(1, 11)
    ]
    first, second = cost(marks, (5, 10))
    assert (first["from"], first["to"], second["from"], second["to"]) == (0, 5, 5, 10)
    assert first["partials"] == pytest.approx(0.1) and second["partials"] == pytest.approx(0.2)
    assert second["stream"] == pytest.approx(0.05)
    assert len(cost(marks, (5, 10, 20))) == 2, "there is no audio up to 20 s"
    assert growth(marks)["memory"]["slope_bytes_per_hour"] == pytest.approx(3_600_000)
    assert growth(marks)["memory"]["first_bytes"] == 1_003_000
    assert growth(marks)["after"]["memory_bytes"] == pytest.approx(1_010_000 + 1000 * (8 * 3600 - 7))
    with pytest.raises(DeviceAsrError, match="Too little audio"):
        growth(marks[:2])


def test_speech_without_a_pause_ends_utterances_by_their_length_alone(bundle: Path) -> None:
    flags = {"model.name": str(bundle), "model.threads": 1, "endpoint.longest_utterance_s": 5.0}
    timed = timed_recognizer(load(str(bundle)), without_pauses(load_config(environ={}, flags=flags).config))
    marks = list(feed(timed, [CLIP], 12.0))
    assert [mark.at for mark in marks] == [float(at) for at in range(1, 13)]
    assert 0 < marks[-1].stream < marks[-1].partials
    assert marks[3].words == 0 < marks[-1].words, "finals come after 5 s, and before the end"
    assert len(timed.chunks) >= 12 / 0.16


def test_soak_feeds_the_recognizer_alone_and_tells_the_slope(bundle: Path, manifest: Path) -> None:
    arguments = ["--fed", str(manifest), "--minutes", "0.2", "--model", str(bundle), "--threads", "1"]
    found = json.loads(CliRunner().invoke(soak, [*arguments, "--json"], catch_exceptions=False).output)
    assert found["partials_mode"] == "stream" and 0 < found["partials_rtf"] < 1
    kept = found["memory"]
    assert 5e7 < kept["first_bytes"] <= kept["max_bytes"] and "slope_bytes_per_hour" in kept
    text = CliRunner().invoke(soak, arguments, catch_exceptions=False).output
    assert found["descriptors"]["first"] > 2 and found["after"]["threads"] >= 1
    assert "memory slope" in text and "after 8 h at this rate" in text and "0.2 min of speech without a pause" in text
    assert isinstance(CliRunner().invoke(soak, [*arguments, "--audio", "x.wav"]).exception, UsageError)
