"""The streaming invariants, on real speech through the shipped programs."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from device_asr import config
from device_asr.events import Final, Partial, SpeechEnded, SpeechStarted, from_record, to_record
from device_asr.metrics.wer import word_errors
from device_asr.recognition.assemble import assemble
from tests.support.paths import ASSETS

CONFIG = config.load(environ={}).config


def read(name: str) -> np.ndarray:
    return soundfile.read(ASSETS / name, dtype="float32")[0]


def recognize(pcm: np.ndarray, cuts: list[int], settings_: config.Config = CONFIG) -> list:
    recognizer = assemble(settings_)
    events = []
    for piece in np.split(pcm, sorted(cuts)):
        events += recognizer.feed(piece)
    return events + recognizer.finish()


@pytest.fixture(scope="module")
def letter() -> list:
    return recognize(read("letter.flac"), [])


def test_the_letter_is_understood(letter: list) -> None:
    wanted = " ".join(line.split("\t")[2] for line in (ASSETS / "letter.tsv").read_text().splitlines())
    found = " ".join(e.text for e in letter if isinstance(e, Final))
    assert word_errors([(wanted, found)]).wer <= 0.06
    assert "," in found and "." in found and found[0].isupper()


@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_the_same_events_whatever_the_chunking(data: st.DataObject) -> None:
    pcm = read("timer.flac")
    cuts = data.draw(st.lists(st.integers(0, len(pcm)), max_size=40))
    assert recognize(pcm, cuts) == recognize(pcm, [])


def test_int16_is_recognized_as_float() -> None:
    pcm = read("timer.flac")
    rounded = np.round(pcm * 32767).astype(np.int16)
    assert recognize(rounded, []) == recognize(rounded.astype(np.float32) / 32768.0, [])


def test_events_come_in_order(letter: list) -> None:
    utterance = None
    for event in letter:
        if isinstance(event, SpeechStarted):
            assert utterance is None
            utterance = event.utterance
        elif isinstance(event, SpeechEnded):
            assert event.utterance == utterance
            utterance = None
        else:
            assert event.utterance == utterance
    assert utterance is None


def test_committed_words_stay_until_the_final(letter: list) -> None:
    committed: dict[int, str] = {}
    for event in letter:
        if isinstance(event, Partial):
            assert event.text.startswith(event.committed)
            assert event.committed.startswith(committed.get(event.utterance, ""))
            committed[event.utterance] = event.committed


def test_words_lie_within_their_utterance_and_make_up_the_text(letter: list) -> None:
    for final in (e for e in letter if isinstance(e, Final)):
        assert " ".join(w.text for w in final.words) == final.text
        times = [t for w in final.words for t in (w.start, w.end)]
        assert all(w.start <= w.end for w in final.words)
        assert [w.start for w in final.words] == sorted(w.start for w in final.words)
        assert final.start - 0.4 <= min(times) and max(times) <= final.time
        assert all(0 <= w.confidence <= 1 for w in final.words)


def test_word_times_agree_with_the_sentence_times(letter: list) -> None:
    wanted = [tuple(map(float, line.split("\t")[:2])) for line in (ASSETS / "letter.tsv").read_text().splitlines()]
    finals = [e for e in letter if isinstance(e, Final)]
    for start, end in wanted:
        assert min(abs(f.words[0].start - start) for f in finals) < 0.4
        assert min(abs(f.words[-1].end - end) for f in finals) < 0.4


def test_a_cut_utterance_loses_and_doubles_no_word() -> None:
    settings_ = config.load(environ={}, flags={"endpoint.longest_utterance_s": 8.0, "partial.enabled": False}).config
    pcm = read("long-sentence.flac")
    text = (ASSETS / "long-sentence.tsv").read_text().strip().split("\t")[-1]
    finals = [e.text for e in recognize(pcm, [], settings_) if isinstance(e, Final)]
    assert len(finals) > 1
    assert word_errors([(text, " ".join(finals))]).wer <= 0.1


def test_silence_and_nothing_give_no_events() -> None:
    assert recognize(np.zeros(16_000 * 3, np.float32), []) == []
    assert recognize(np.zeros(0, np.float32), []) == []
    assert recognize(np.zeros(1, np.float32), []) == []


def test_feeding_goes_on_after_finish() -> None:
    pcm = read("timer.flac")
    recognizer = assemble(CONFIG)
    first = [e.text for e in recognizer.feed(pcm) + recognizer.finish() if isinstance(e, Final)]
    again = [e for e in recognizer.feed(pcm) + recognizer.finish() if isinstance(e, Final)]
    assert [e.text for e in again] == first
    assert again[0].start > len(pcm) / 16_000


def test_late_partials_are_skipped_and_finals_are_not() -> None:
    recognizer = assemble(CONFIG)
    events = recognizer.feed(read("timer.flac"), backlog=5.0) + recognizer.finish()
    assert not any(isinstance(e, Partial) for e in events)
    assert any(isinstance(e, Final) for e in events)


@pytest.mark.parametrize("pcm", [np.array([np.nan], np.float32), np.zeros((2, 2), np.float32), np.zeros(4, np.int32)])
def test_what_is_not_pcm_is_refused(pcm: np.ndarray) -> None:
    with pytest.raises(ValueError, match="wanted"):
        assemble(CONFIG).feed(pcm)


def test_events_survive_json(letter: list) -> None:
    import json

    for event in letter:
        assert from_record(json.loads(json.dumps(to_record(event)))) == event
