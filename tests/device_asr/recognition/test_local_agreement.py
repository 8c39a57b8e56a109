"""LocalAgreement: what is committed stays, and ends at a word."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_asr.bundle.vocabulary import Vocabulary
from device_asr.config import PartialConfig
from device_asr.decoding.cache import Caches
from device_asr.decoding.hypothesis import Encoded, Hypothesis
from device_asr.recognition.local_agreement import Agreement, LocalAgreement
from device_asr.recognition.whole_utterance import WholeUtterance

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


class Growing:
    """A decoder that writes a word more for every 10 positions, and keeps what it was given."""

    def __init__(self) -> None:
        self.vocabulary, self.decoded, self.audio = VOCABULARY, [], []

    def encode(self, pcm: np.ndarray) -> Encoded:
        self.audio.append(len(pcm))
        return Encoded(Caches((), ()), len(pcm) // 320, len(pcm) / 16_000)

    def decode(self, encoded: Encoded, draft: tuple[int, ...], forced: tuple[int, ...]) -> Hypothesis:
        self.decoded.append(encoded)
        tokens = (0, 2, 4, 0, 2)[: encoded.positions // 10]
        return Hypothesis(tokens, (-0.1,) * len(tokens), 0.0, np.zeros((0, len(tokens) + 1, 1), np.float32), False)

    def is_speech(self, hypothesis: Hypothesis) -> bool:
        return bool(hypothesis.tokens)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_stream_is_decoded_where_there_is_one_and_else_the_audio_is_encoded(streamed: bool) -> None:
    decoder = Growing()
    stream = SimpleNamespace(encoded=lambda samples: Encoded(Caches((), ()), samples // 320, samples / 16_000))
    policy = LocalAgreement(decoder, stream if streamed else WholeUtterance(), PartialConfig())
    audio = [np.zeros(320 * positions, np.float32) for positions in (10, 20, 20, 30)]
    shown = [policy.update(pcm.copy, 0.0, True) for pcm in audio]
    assert [one and one.committed for one in shown] == [(), (), None, (0,)]
    assert [encoded.positions for encoded in decoder.decoded] == [10, 20, 30], "no hypothesis agrees with itself"
    assert all(encoded.spoken for encoded in decoder.decoded)
    assert decoder.audio == ([] if streamed else [3200, 6400, 6400, 9600])
