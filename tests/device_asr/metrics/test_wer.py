"""WER: counts of known pairs, the normalizer, and what a loop is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_asr.metrics.wer import is_loop, normalize, word_errors

WORDS = st.lists(st.sampled_from(["stone", "river", "seven", "paper"]), min_size=1, max_size=8).map(" ".join)


def test_each_kind_of_error_is_counted_over_the_whole_corpus() -> None:
    found = word_errors([("the cat sat on the mat", "the cap sat on mat"), ("stone", "stone wall")])
    assert (found.words, found.substitutions, found.deletions, found.insertions) == (7, 1, 1, 1)
    assert found.wer == pytest.approx(3 / 7)  # not the mean of the clips' rates


def test_case_punctuation_spelling_and_numbers_do_not_count() -> None:
    assert word_errors([("mister hale's colour is twenty one", "Mr. Hale's color is 21!")]).wer == 0


def test_character_errors_are_finer_than_word_errors() -> None:
    found = word_errors([("stone river", "stone rivet")])
    assert found.wer == 0.5 and found.cer == pytest.approx(1 / 11)


def test_an_empty_reference_makes_insertions_and_no_rate_of_its_own() -> None:
    found = word_errors([("", "stone river")])
    assert found.insertions == 2 and found.wer is None and found.cer is None


def test_an_empty_corpus_has_no_rate() -> None:
    assert word_errors([]).wer is None


@pytest.mark.parametrize(
    ("reference", "hypothesis", "loop"),
    [
        ("river " * 6, "stone " * 9, False),  # exactly 1.5 times
        ("stone " * 6, "stone " * 10, True),
        ("stone river", "stone river paper seven", False),  # twice as long, by two words
        ("stone river", "stone river " * 4, True),
        ("", "stone " * 3, False),
        ("", "stone " * 4, True),
    ],
)
def test_a_loop_is_half_as_long_again_and_more_than_a_few_words(reference: str, hypothesis: str, loop: bool) -> None:
    assert is_loop(reference, hypothesis) is loop
    assert word_errors([(reference, hypothesis)]).loops == loop


@given(WORDS)
def test_a_text_compared_with_itself_has_no_error(text: str) -> None:
    assert word_errors([(text, text)]).wer == 0
    assert normalize(normalize(text)) == normalize(text)


@given(WORDS, WORDS)
def test_the_counts_add_up(reference: str, hypothesis: str) -> None:
    found = word_errors([(reference, hypothesis)])
    assert found.words == len(normalize(reference).split())
    assert found.words - found.deletions + found.insertions == len(normalize(hypothesis).split())


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5))
def test_the_clips_counts_add_up_to_the_corpus(pairs: list[tuple[str, str]]) -> None:
    found = word_errors(pairs)
    assert sum(found.clip_errors) == found.substitutions + found.deletions + found.insertions
    assert sum(found.clip_words) == found.words
    alone = [word_errors([pair]) for pair in pairs]
    assert found.clip_errors == tuple(sum(one.clip_errors) for one in alone)


def test_a_difference_is_that_of_the_rates_and_wants_the_same_references() -> None:
    ours = word_errors([("stone river", "stone river"), ("seven", "paper")])
    theirs = word_errors([("stone river", "stone paper"), ("seven", "paper")])
    found = ours.difference(theirs)
    assert found is not None and found.value == pytest.approx(-1 / 3)
    with pytest.raises(ValueError, match="same references"):
        ours.difference(word_errors([("stone", "stone")]))


def test_the_record_has_the_interval_and_not_the_clips() -> None:
    record = word_errors([("stone river", "stone river"), ("seven", "paper")]).record()
    assert record["wer"] == pytest.approx(1 / 3) and len(record["wer_interval"]) == 2
    assert not {"clip_errors", "clip_words"} & set(record)
    assert word_errors([("stone", "stone")]).record()["wer_interval"] is None
