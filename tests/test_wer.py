"""WER: counts of known pairs, the normaliser, and what a loop is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_asr.wer import is_loop, normalise, score

WORDS = st.lists(st.sampled_from(["stone", "river", "seven", "paper"]), min_size=1, max_size=8).map(" ".join)


def test_each_kind_of_error_is_counted_over_the_whole_corpus() -> None:
    found = score(["the cat sat on the mat", "stone"], ["the cap sat on mat", "stone wall"])
    words = found.words
    assert (words.reference, words.substitutions, words.deletions, words.insertions) == (7, 1, 1, 1)
    assert words.rate == pytest.approx(3 / 7)  # not the mean of the clips' rates


def test_case_punctuation_spelling_and_numbers_do_not_count() -> None:
    assert score(["mister hale's colour is twenty one"], ["Mr. Hale's color is 21!"]).words.rate == 0


def test_character_errors_are_finer_than_word_errors() -> None:
    found = score(["stone river"], ["stone rivet"])
    assert found.words.rate == 0.5 and found.characters.rate == pytest.approx(1 / 11)


def test_an_empty_reference_makes_insertions_and_no_rate_of_its_own() -> None:
    found = score([""], ["stone river"])
    assert found.words.insertions == 2 and found.words.rate is None


def test_an_empty_corpus_has_no_rate() -> None:
    assert score([], []).words.rate is None


def test_a_missing_hypothesis_is_refused() -> None:
    with pytest.raises(ValueError, match="wanted 2 hypotheses"):
        score(["a", "b"], ["a"])


@pytest.mark.parametrize(("reference", "hypothesis", "loop"), [
    ("river " * 6, "stone " * 9, False),  # exactly 1.5 times
    ("stone " * 6, "stone " * 10, True),
    ("stone river", "stone river paper seven", False),  # twice as long, by two words
    ("stone river", "stone river " * 4, True),
    ("", "stone " * 3, False),
    ("", "stone " * 4, True),
])
def test_a_loop_is_half_as_long_again_and_more_than_a_few_words(reference: str, hypothesis: str, loop: bool) -> None:
    assert is_loop(reference, hypothesis) is loop
    assert score([reference], [hypothesis]).loops == loop


@given(WORDS)
def test_a_text_compared_with_itself_has_no_error(text: str) -> None:
    assert score([text], [text]).words.rate == 0
    assert normalise(normalise(text)) == normalise(text)


@given(WORDS, WORDS)
def test_the_counts_add_up(reference: str, hypothesis: str) -> None:
    words = score([reference], [hypothesis]).words
    assert words.reference == len(normalise(reference).split())
    assert words.reference - words.deletions + words.insertions == len(normalise(hypothesis).split())
