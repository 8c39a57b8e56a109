"""Bootstrap intervals: what they cover on simulated corpora, and what must hold for any counts."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from device_asr.metrics.interval import Interval, rate_difference, rate_interval

CLIPS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 30)), min_size=2, max_size=12)


def simulated(generator: np.random.Generator, clips: int, *rates: float) -> tuple[np.ndarray, list[np.ndarray]]:
    """Words and, for each rate, errors of clips of which some are harder than others, for every system alike."""
    words = generator.integers(5, 40, clips)
    hardness = generator.gamma(1.0, 1.0, clips)
    return words, [generator.poisson(rate * hardness * words) for rate in rates]


def test_the_interval_covers_the_true_rate_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(3)
    covered = 0
    for _ in range(120):
        words, (errors,) = simulated(generator, 60, 0.12)
        interval = rate_interval(errors, words)
        covered += interval is not None and interval.low <= 0.12 <= interval.high
    assert 0.85 <= covered / 120 <= 0.99


def test_a_difference_covers_the_true_one_and_no_difference_is_seldom_taken_for_one() -> None:
    generator = np.random.default_rng(4)
    covered = mistaken = 0
    for _ in range(120):
        words, (errors, others, same) = simulated(generator, 60, 0.12, 0.09, 0.12)
        found, none = rate_difference(errors, others, words), rate_difference(errors, same, words)
        assert found and found.interval and none and none.interval
        covered += found.interval.low <= 0.03 <= found.interval.high
        mistaken += none.interval.decided
    assert 0.85 <= covered / 120 <= 0.99 and mistaken / 120 <= 0.12


def test_a_paired_difference_sees_what_two_intervals_do_not() -> None:
    words, (errors,) = simulated(np.random.default_rng(5), 80, 0.15)
    others = errors + (np.arange(80) % 4 == 0)  # one error more in every fourth clip
    ours, theirs = rate_interval(errors, words), rate_interval(others, words)
    assert ours and theirs and ours.high > theirs.low
    found = rate_difference(errors, others, words)
    assert found and found.interval and found.interval.high < 0


def test_it_agrees_with_the_bootstrap_of_scipy() -> None:
    words, (errors,) = simulated(np.random.default_rng(6), 50, 0.12)

    def rate(e: np.ndarray, w: np.ndarray, axis: int = -1) -> np.ndarray:
        return e.sum(axis=axis) / w.sum(axis=axis)

    theirs = scipy.stats.bootstrap(
        (errors, words), rate, paired=True, vectorized=True, method="percentile", n_resamples=10_000, rng=1
    ).confidence_interval
    ours = rate_interval(errors, words)
    assert ours and (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.004)


@settings(deadline=None, max_examples=25)
@given(CLIPS)
def test_a_system_is_no_better_than_itself(clips: list[tuple[int, int, int]]) -> None:
    errors, _, words = zip(*clips, strict=True)
    found = rate_difference(errors, errors, words)
    assert found and found.value == 0 and found.interval == Interval(0, 0) and not found.interval.decided


@settings(deadline=None, max_examples=25)
@given(CLIPS)
def test_the_other_way_round_the_difference_has_the_other_sign(clips: list[tuple[int, int, int]]) -> None:
    errors, others, words = zip(*clips, strict=True)
    one, two = rate_difference(errors, others, words), rate_difference(others, errors, words)
    assert one and two and one.interval and two.interval
    assert one.value == -two.value
    assert (one.interval.low, one.interval.high) == pytest.approx((-two.interval.high, -two.interval.low))


@settings(deadline=None, max_examples=25)
@given(CLIPS)
def test_the_rate_lies_within_the_extremes_and_the_seed_decides_the_draws(clips: list[tuple[int, int, int]]) -> None:
    errors, _, words = zip(*clips, strict=True)
    found = rate_interval(errors, words)
    rates = [e / w for e, w in zip(errors, words, strict=True)]
    assert found and min(rates) <= found.low <= found.high <= max(rates)
    assert rate_interval(errors, words) == found


def test_many_clips_are_drawn_in_parts_and_narrow_the_interval() -> None:
    words, (errors,) = simulated(np.random.default_rng(7), 4000, 0.12)
    many, few = rate_interval(errors, words), rate_interval(errors[:100], words[:100])
    assert many and few and many.high - many.low < 0.3 * (few.high - few.low)


def test_one_clip_has_no_interval_and_no_words_have_no_rate() -> None:
    assert rate_interval([1], [4]) is None and rate_interval([2, 1], [0, 0]) is None
    alone = rate_difference([1], [3], [4])
    assert alone and alone.value == -0.5 and alone.interval is None
    assert rate_difference([1, 1], [0, 0], [0, 0]) is None


def test_draws_of_clips_without_words_are_left_out() -> None:
    found = rate_interval([1, 2, 0], [0, 10, 10])
    assert found and np.isfinite([found.low, found.high]).all()


def test_different_clips_are_refused() -> None:
    with pytest.raises(ValueError, match="same clips, found 2, 2 and 3"):
        rate_difference([1, 2], [1, 2], [3, 4, 5])
