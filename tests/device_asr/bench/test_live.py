"""The benchmark in real time, from files and through a real microphone."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from device_asr.audio.format import SAMPLE_RATE, STEP_S
from device_asr.bench.live import files_live, microphone_live, share_out
from device_asr.bench.report import corpus_record
from device_asr.bench.run import Corpus
from device_asr.config import Config
from device_asr.dictation.remote import RemoteRecognizer
from device_asr.errors import DeviceAsrError
from device_asr.events import Final
from device_asr.metrics.clips import Clip
from tests.support.dying import Death, Processes
from tests.support.paths import ASSETS
from tests.support.utterance_counter import UtteranceCounter, silence, speech
from tests.support.virtual_microphone import VirtualMicrophone, missing

LETTER = ASSETS / "letter.flac"


@pytest.mark.serial
def test_in_real_time_latencies_are_on_the_wall_clock_and_utterances_find_their_clip(tmp_path: Path) -> None:
    clips = []
    for number, length in enumerate((0.32, 0.64)):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, speech(length), SAMPLE_RATE, subtype="FLOAT")
        clips.append(Clip(path, f"{length:.3f}"))
    found = Corpus("corpus")
    began = time.monotonic()
    run = files_live(clips, UtteranceCounter(cost=lambda: 0.01), Config(), found, tail=0.64)
    assert time.monotonic() - began >= 2.24
    assert [result.recognized.text for result in found.results] == ["0.320", "0.640"]
    assert corpus_record(found)["wer"] == 0
    waited = found.latency.finalization_no_hangover
    assert waited.count == 2 and 0.01 <= waited.p50 < 0.5  # the stand-in's own 10 ms a chunk are inside
    assert run.wall >= 2.24 and run.cpu > 0 and run.overflows == 0
    assert found.compute >= 0.01 * 2.24 / STEP_S * 0.9


def test_a_measurement_in_which_the_recognizer_was_started_again_is_void(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "0.wav", speech(0.32), SAMPLE_RATE, subtype="FLOAT")
    recognizer = RemoteRecognizer(UtteranceCounter, start=Processes([Death(3)]))
    with pytest.raises(DeviceAsrError, match=r"ended by SIGKILL.*; measure again\."):
        files_live([Clip(tmp_path / "0.wav", "0.320")], recognizer, Config(), Corpus("corpus"), tail=0.1)


def test_an_utterance_belongs_to_the_clip_that_was_playing() -> None:
    finals = [Final(0, str(start), start, start + 1, start + 2, (), 1.0) for start in (0.2, 4.9, 5.1, 9.0)]
    clips = [Clip(LETTER), Clip(LETTER)]
    assert [result.recognized.text for result in share_out(clips, [0.0, 5.0], finals)] == ["0.2", "4.9 5.1 9.0"]


@pytest.mark.e2e
@pytest.mark.serial
@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_through_a_real_microphone_each_clip_is_played_and_recognized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from device_asr.audio import devices

    path = tmp_path / "speech.wav"
    soundfile.write(path, np.concatenate([speech(1.0), silence(0.2)]), SAMPLE_RATE)
    with VirtualMicrophone() as microphone, devices.silenced_libraries():
        for name, value in microphone.changes.items():
            monkeypatch.setenv(name, value)
        devices.refresh()
        found = Corpus("corpus")
        run = microphone_live(
            [Clip(path), Clip(path)],
            UtteranceCounter(),
            Config(),
            found,
            1.0,
            ["paplay", "--device=vmic", "--latency-msec=60"],
        )
        with pytest.raises(DeviceAsrError, match="exit code"):
            microphone_live([Clip(path)], UtteranceCounter(), Config(), Corpus("again"), 0.1, ["false"])
    lengths = [float(text) for result in found.results for text in result.recognized.text.split()]
    assert len(found.results) == 2 and sum(lengths) == pytest.approx(2.0, abs=0.3)
    assert run.overflows == 0 and run.wall > 5
    assert 0 <= found.latency.finalization_no_hangover.p95 < 1
