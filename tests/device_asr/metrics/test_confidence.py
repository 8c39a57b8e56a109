"""Confidence: which words are right, and how well confidence tells them from wrong ones."""

from __future__ import annotations

import pytest

from device_asr.events import Word
from device_asr.metrics.confidence import judged, summary


def words(*pairs: tuple[str, float]) -> list[Word]:
    return [Word(text, 0.0, 1.0, confidence) for text, confidence in pairs]


def test_a_word_is_right_where_the_reference_has_it_at_its_place() -> None:
    found = judged("The birch canoe slid.", words(("the", 0.9), ("Birch,", 0.8), ("canal", 0.3), ("slid", 0.7)))
    assert found == [(0.9, True), (0.8, True), (0.3, False), (0.7, True)]


def test_words_are_compared_as_for_the_word_error_rate() -> None:
    found = judged("it is um color", words(("It's", 0.9), ("um", 0.1), ("color", 0.8)))
    assert found == [(0.9, True), (0.8, True)], "a filler does not count"
    assert judged("it was", words(("it's", 0.5))) == [(0.5, False)], "half of it is wrong"


def test_without_a_reference_word_every_word_is_wrong() -> None:
    assert judged("", words(("you", 0.4))) == [(0.4, False)] and judged("so", []) == []


def test_the_auc_is_the_chance_that_a_right_word_has_more_confidence() -> None:
    pairs = [(0.9, True), (0.6, True), (0.6, False), (0.2, False)]
    wanted = (1 + 0.5 + 1 + 1) / 4
    assert summary([pairs[:1], pairs[1:]])["auc"] == pytest.approx(wanted)
    assert summary([[(0.2, True), (0.9, False)]])["auc"] == 0.0
    assert summary([[(0.5, True), (0.5, False)]])["auc"] == 0.5


def test_the_calibration_error_is_the_distance_of_confidence_and_right_words() -> None:
    sure = [(0.95, True)] * 9 + [(0.95, False)]
    found = summary([sure, [(0.35, False)] * 10])
    assert found["calibration_error"] == pytest.approx((0.05 * 10 + 0.35 * 10) / 20)
    assert (found["n"], found["wrong"], found["right_mean"]) == (20, 11, pytest.approx(0.95))
    assert summary([[(1.0, True)]])["calibration_error"] == 0.0


def test_one_kind_alone_has_no_auc_and_no_words_no_summary() -> None:
    found = summary([[(0.9, True)]])
    assert found["auc"] is None and found["wrong_mean"] is None and summary([[]]) is None
