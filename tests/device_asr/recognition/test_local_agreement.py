"""LocalAgreement: what is committed stays, and ends at a word."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from device_asr.bundle.vocabulary import Vocabulary
from device_asr.recognition.local_agreement import Agreement

PIECES = (b" a", b"b", b" c", b"d", b" e", b"f")
VOCABULARY = Vocabulary(PIECES, (7, 9), 6, 8)


def test_two_hypotheses_commit_their_common_words_but_not_the_last() -> None:
    agreement = Agreement(VOCABULARY, 2)
    agreement.add((0, 1, 2, 4))
    assert agreement.committed == ()
    agreement.add((0, 1, 2, 3, 4))
    assert agreement.committed == (0, 1)  # " c" and " cd" differ
    agreement.add((0, 1, 2, 3, 4, 5))
    assert agreement.committed == (0, 1, 2, 3)


@given(st.lists(st.lists(st.integers(0, 5), max_size=8), max_size=10))
def test_committed_only_grows_and_begins_every_later_hypothesis(rest: list[list[int]]) -> None:
    agreement = Agreement(VOCABULARY, 2)
    for tail in rest:
        before = agreement.committed
        hypothesis = (*before, *tail)
        agreement.add(hypothesis)
        assert agreement.committed[: len(before)] == before
        assert hypothesis[: len(agreement.committed)] == agreement.committed
