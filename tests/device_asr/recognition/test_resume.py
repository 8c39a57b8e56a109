"""Resuming: another recognizer goes on from a resume point, and says the same as if nothing had happened."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from device_asr import config
from device_asr.audio.format import SAMPLE_RATE
from device_asr.config import Config
from device_asr.events import Event, Final, Partial, SpeechStarted
from device_asr.recognition.assemble import assemble
from device_asr.recognition.resume import ResumePoint
from tests.support.paths import ASSETS

CONFIG = config.load(environ={}).config
CHUNK = 800  # 50 ms: no whole number of frames
SHORT_UTTERANCES = replace(CONFIG, endpoint=replace(CONFIG.endpoint, longest_utterance_s=5.0))
REENCODED = replace(CONFIG, partial=replace(CONFIG.partial, mode="reencode"))
FINALS_ONLY = replace(CONFIG, partial=replace(CONFIG.partial, enabled=False))


def read(name: str) -> np.ndarray:
    return soundfile.read(ASSETS / name, dtype="float32")[0]


def interrupted(pcm: np.ndarray, settings: Config, every: int) -> tuple[list[Event], list[Event], set[bool]]:
    """Events of one recognizer, those of two that take turns, and whether utterances were open where they changed."""
    one, other, spare = (assemble(settings) for _ in range(3))
    events: list[Event] = []
    resumed: list[Event] = []
    open_there = set()
    for number, at in enumerate(range(0, len(pcm), CHUNK), 1):
        chunk = pcm[at : at + CHUNK]
        events += one.feed(chunk)
        resumed += other.feed(chunk)
        if number % every == 0:
            point = pickle.loads(pickle.dumps(other.resume_point))
            other, spare = spare, other
            other.resume(point)
            open_there.add(point.state is not None and point.state.endpointer.open)
            other.feed(pcm[point.position : at + len(chunk)])  # these events were there before
            assert other.time == one.time
    return events + one.finish(), resumed + other.finish(), open_there


def agree(settings: Config) -> None:
    events, resumed, open_there = interrupted(read("letter.flac")[: 11 * SAMPLE_RATE], settings, 23)
    assert len([event for event in events if isinstance(event, Final)]) >= 2
    assert any(isinstance(event, Partial) for event in events) == settings.partial.enabled
    assert open_there == {True, False}
    assert resumed == events


@pytest.mark.parametrize(
    "settings", [CONFIG, SHORT_UTTERANCES, FINALS_ONLY, pytest.param(REENCODED, marks=pytest.mark.slow)]
)
def test_another_recognizer_goes_on_with_the_same_events(settings: Config) -> None:
    agree(settings)


@pytest.mark.slow
def test_custom_words_are_found_by_another_recognizer_too(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("Priya\nthe train\n")
    agree(replace(CONFIG, decoding=replace(CONFIG.decoding, hotwords=str(tmp_path / "names.txt"))))


def test_without_a_state_it_begins_anew_at_the_time_of_the_point() -> None:
    pcm = read("timer.flac")
    plain, later = assemble(CONFIG), assemble(CONFIG)
    later.resume(ResumePoint(8_000, utterance=6))
    first, second = [recognizer.feed(pcm) + recognizer.finish() for recognizer in (plain, later)]
    (final,), (moved,) = ([event for event in found if isinstance(event, Final)] for found in (first, second))
    assert (moved.text, moved.utterance) == (final.text, 7)
    assert [word.start for word in moved.words] == pytest.approx([word.start + 0.5 for word in final.words])
    assert next(e.time for e in second if isinstance(e, SpeechStarted)) >= 0.5


def test_the_point_moves_on_while_nobody_speaks_and_stays_at_an_utterances_beginning() -> None:
    recognizer = assemble(CONFIG)
    recognizer.feed(np.zeros(10 * SAMPLE_RATE, np.float32))
    assert recognizer.time - recognizer.resume_point.position / SAMPLE_RATE <= 1.0
    began = next(e for e in recognizer.feed(read("letter.flac")[: 3 * SAMPLE_RATE]) if isinstance(e, SpeechStarted))
    assert recognizer.resume_point.position / SAMPLE_RATE == pytest.approx(began.time, abs=0.2)
    assert recognizer.resume_point.utterance == began.utterance
