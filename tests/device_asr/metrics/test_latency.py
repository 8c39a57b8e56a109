"""Latency: each definition on events written by hand, in both clocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_asr.events import Final, Partial, SpeechEnded, SpeechStarted, Word
from device_asr.metrics.latency import LatencyMeter, Series, percentile, rtf, stable_since


def partial(text: str, time: float, *, start: float = 1.0, compute: float = 0.0) -> Partial:
    return Partial(0, text, "", start, time, time, compute)


def final(*words: tuple[str, float], time: float, compute: float = 0.0, end: float = 0.0) -> Final:
    spoken = tuple(Word(text, end - 0.2, end, 0.9) for text, end in words)
    return Final(0, " ".join(w.text for w in spoken), 1.0, end or time, time, spoken, 0.9, compute)


def metered(*events: object) -> LatencyMeter:
    meter = LatencyMeter()
    for event in events:
        meter.add(event)
    return meter


def test_first_partial_runs_from_the_onset_to_the_first_text_and_counts_its_computation() -> None:
    meter = metered(SpeechStarted(0, 1.0), partial("", 1.4), partial("the", 1.9, compute=0.1), partial("the cat", 2.3))
    assert list(meter.first_partial.values) == [pytest.approx(1.0)]


def test_a_utterance_whose_first_text_is_its_final_has_no_first_partial() -> None:
    meter = metered(SpeechStarted(0, 1.0), final(("hello", 1.5), time=2.1), SpeechEnded(0, 1.5))
    assert meter.first_partial.count == 0 and meter.finals == 1


def test_a_word_is_emitted_when_it_was_last_changed_whatever_computing_took() -> None:
    meter = metered(
        SpeechStarted(0, 1.0),
        partial("the", 1.5, compute=9),
        partial("the cap", 2.0, compute=9),
        partial("the cat", 2.5, compute=9),
        final(("The", 1.3), ("cat.", 1.8), time=3.0, compute=9),
    )
    assert list(meter.word_emission.values) == pytest.approx([0.2, 0.7])


def test_a_word_that_goes_and_comes_back_counts_from_its_return() -> None:
    meter = metered(
        SpeechStarted(0, 1.0),
        partial("cat", 1.5),
        partial("cap", 2.0),
        partial("cat", 2.5),
        final(("cat", 1.4), time=3.0),
    )
    assert list(meter.word_emission.values) == pytest.approx([1.1])


def test_a_word_stays_itself_where_words_before_it_change() -> None:
    meter = metered(
        SpeechStarted(0, 1.0),
        partial("I scream for you", 1.5),
        final(("Ice", 1.1), ("cream", 1.2), ("for", 1.3), ("you", 1.4), time=3.0),
    )
    assert list(meter.word_emission.values) == pytest.approx([1.9, 1.8, 0.2, 0.1])


def test_finalization_with_and_without_hangover() -> None:
    meter = metered(SpeechStarted(0, 1.0), final(("hello", 1.5), time=2.1, compute=0.2))
    assert meter.finalization.last == pytest.approx(0.8)
    assert meter.finalization_no_hangover.last == pytest.approx(0.2)


def test_a_final_that_the_end_of_the_audio_forced_has_no_hangover_to_count() -> None:
    meter = LatencyMeter()
    meter.add(final(("hello", 1.5), time=1.6, compute=0.2), cut_short=True)
    assert meter.finalization.count == 0
    assert meter.finalization_no_hangover.last == pytest.approx(0.2)


def test_on_the_wall_clock_waiting_counts_and_stated_computation_does_not() -> None:
    meter = LatencyMeter(wall=lambda audio: 100.0 + audio)
    meter.add(SpeechStarted(0, 1.0), 101.3)
    meter.add(partial("the", 1.5, compute=0.1), 101.9)
    meter.add(final(("the", 1.4), ("cat", 1.9), time=2.5, compute=0.2), 103.0)
    assert meter.first_partial.last == pytest.approx(0.9)
    assert list(meter.word_emission.values) == pytest.approx([0.5, 1.1])
    assert meter.finalization.last == pytest.approx(1.1)
    assert meter.finalization_no_hangover.last == pytest.approx(0.5)


def test_mixing_the_clocks_is_refused() -> None:
    with pytest.raises(ValueError, match="audio clock"):
        LatencyMeter().add(partial("a", 1.5), 3.0)
    with pytest.raises(ValueError, match="audio clock"):
        LatencyMeter(wall=lambda audio: audio).add(partial("a", 1.5))


def test_flicker_counts_words_changed_and_taken_back_but_not_added() -> None:
    meter = metered(
        SpeechStarted(0, 1.0),
        partial("the cap sat", 1.5),
        partial("the cat sat on", 2.0),
        final(("the", 1.1), ("cat", 1.2), ("sat", 1.3), time=3.0),
    )
    assert meter.changed_words == 2 and meter.flicker == pytest.approx(2 / 3)  # cap; on


def test_flicker_leaves_case_and_punctuation_to_its_strict_form() -> None:
    meter = metered(
        SpeechStarted(0, 1.0), partial("the cat.", 1.5), final(("The", 1.1), ("cat,", 1.2), ("sat", 1.3), time=3.0)
    )
    assert meter.flicker == 0 and meter.flicker_strict == pytest.approx(2 / 3)


def test_text_of_a_utterance_that_made_no_final_was_all_taken_back() -> None:
    meter = metered(
        SpeechStarted(0, 1.0),
        partial("thank you", 1.5),
        SpeechEnded(0, 1.6),
        SpeechStarted(1, 3.0),
        final(("hello", 3.5), time=4.1),
        SpeechEnded(1, 3.5),
    )
    assert meter.flicker == 2.0 and meter.utterances == 2 and meter.finals == 1


def test_percentiles_interpolate_and_say_when_there_is_nothing() -> None:
    assert percentile([4, 1, 3, 2], 50) == 2.5
    assert percentile([], 50) is None
    series = Series()
    assert series.last is series.p50 is series.p95 is None


def test_a_series_forgets_what_it_does_not_keep_but_counts_on() -> None:
    series = Series(keep=2)
    for value in (1.0, 2.0, 3.0):
        series.add(value)
    assert list(series.values) == [2.0, 3.0] and series.count == 3


def test_rtf_is_computation_over_audio() -> None:
    assert rtf(1.0, 10.0) == 0.1
    assert rtf(1.0, 0.0) is None


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=5), min_size=1, max_size=6))
def test_a_stable_word_is_in_every_text_since(texts: list[list[str]]) -> None:
    timed = list(enumerate(texts))
    for word, since in zip(texts[-1], stable_since(timed), strict=True):
        assert all(word in text for time, text in timed if time >= since)
