"""Given words in the teacher's spelling."""

from __future__ import annotations

import pytest

from compress.data.references import corrected
from device_asr.metrics.wer import normalize


@pytest.mark.parametrize(
    ("written", "given", "wanted"),
    [
        (
            "Mr. Quilter is the apostle of the middle class.",
            "mister quilter is the apostle of the middle classes",
            "Mr. Quilter is the apostle of the middle classes.",
        ),
        (
            "Keep me as a transplanted often, because every healthy person has two of them.",
            "kidneys are transplanted often because every healthy person has two of them",
            "Kidneys are transplanted often, because every healthy person has two of them.",
        ),
        ("I paid 25 dollars.", "i paid twenty five dollars", "I paid 25 dollars."),
        ("He came today.", "he came to day", "He came today."),
        ("What? Where are you going now?", "where are you going", "Where are you going?"),
        ('He said, "I\'m late."', "he said i'm very late", 'He said, "I\'m very late."'),
        ("She and eye went.", "she and i went", "She and I went."),
        ("the 1st of May 1830", "The first of May, 1830.", "The first of May, 1830."),  # written as sentences: as given
    ],
)
def test_words_are_the_given_ones_and_punctuation_the_teachers(written: str, given: str, wanted: str) -> None:
    assert corrected(written, given) == wanted
    assert normalize(wanted).replace(" ", "") == normalize(given).replace(" ", "")


@pytest.mark.parametrize(("written", "given"), [("Thank you.", "the weather is fine"), ("Yes.", ""), ("", "yes")])
def test_texts_of_different_sentences_are_not_mixed(written: str, given: str) -> None:
    assert corrected(written, given) is None
