"""Errors of word times: which words are compared, what is counted, and the spread."""

from __future__ import annotations

import pytest

from device_asr.events import Word
from device_asr.metrics.word_times import KnownWord, WordTimeErrors, summary, word_time_errors


def found(*words: tuple[str, float, float]) -> list[Word]:
    return [Word(text, start, end, 0.9) for text, start, end in words]


KNOWN = [KnownWord("The", 1.0, 1.2), KnownWord("birch", 1.2, 1.6), KnownWord("canoe.", 1.6, 2.0)]


def test_an_error_is_the_found_time_less_the_known_one() -> None:
    errors = word_time_errors(KNOWN, found(("the", 0.9, 1.25), ("birch,", 1.25, 1.5), ("canoe", 1.7, 2.1)))
    assert errors.words == errors.matched == 3 and errors.before_start == 0
    assert errors.starts == pytest.approx((-0.1, 0.05, 0.1)) and errors.ends == pytest.approx((0.05, -0.1, 0.1))


def test_words_that_were_not_recognized_do_not_count() -> None:
    errors = word_time_errors(KNOWN, found(("the", 1.0, 1.2), ("big", 1.2, 1.4), ("canoe", 1.6, 2.0), ("said", 2, 3)))
    assert (errors.words, errors.matched, len(errors.ends)) == (3, 2, 2)
    assert word_time_errors(KNOWN, []) == WordTimeErrors(3, 0, (), (), 0)


def test_a_word_that_ends_before_it_began_is_counted() -> None:
    errors = word_time_errors(KNOWN, found(("the", 0.4, 0.9), ("birch", 0.9, 1.21), ("canoe", 1.2, 1.5)))
    assert errors.before_start == 2


def test_only_known_times_count() -> None:
    known = [KnownWord("a"), KnownWord("rod", None, 2.0), KnownWord("is", 2.5)]
    errors = word_time_errors(known, found(("A", 1, 2), ("rod", 1, 2.5), ("is", 2.0, 2.4)))
    assert errors.ends == (0.5,) and errors.starts == (-0.5,) and errors.before_start == 1


def test_the_spread_is_of_all_words_with_an_interval_over_clips() -> None:
    clips = [WordTimeErrors(2, 2, (0.0, 0.1), (-0.02, 0.04), 0), WordTimeErrors(3, 1, (), (-0.06,), 1)]
    made = summary(clips)
    assert (made["words"], made["matched"], made["before_start"]) == (5, 3, 1)
    ends = made["ends"]
    assert (ends["n"], ends["p50"], ends["bias"]) == (3, pytest.approx(0.04), pytest.approx(-0.02))
    low, high = ends["p50_interval"]
    assert (low, high) == pytest.approx((0.03, 0.06)), "either clip alone may be drawn"
    assert made["starts"]["n"] == 2 and made["starts"]["p50_interval"] is None, "one clip has starts"


def test_an_interval_is_narrow_where_clips_agree() -> None:
    clips = [WordTimeErrors(9, 9, (), tuple(0.01 * k for k in range(9)), 0)] * 40
    assert summary(clips)["ends"]["p50_interval"] == pytest.approx([0.04, 0.04])


def test_nothing_matched_is_no_summary() -> None:
    assert summary([]) is None and summary([WordTimeErrors(3, 0, (), (), 0)]) is None
