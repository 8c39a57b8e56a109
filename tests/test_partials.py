"""What is shown of a hypothesis: words whose attention lies before the last moments of the sound."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from device_asr.config import PartialConfig
from device_asr.decoder import Hypothesis
from device_asr.partials import Streaming, heard_tokens
from device_asr.tokenizer import Vocabulary

PIECES = (b" the", b" lett", b"er", b".", b" ar", b"rived", b"!")
VOCABULARY = Vocabulary(PIECES, {"end": 7, "start": 8, "no_speech": 9, "no_timestamps": 10})


def attended(tokens: tuple[int, ...], at: tuple[int, ...], positions: int = 50, wide: int = 1) -> Hypothesis:
    """Each token, and the end, attends evenly to `wide` positions up to and including `at`."""
    alignment = np.zeros((2, len(tokens) + 1, positions), np.float32)
    for row, last in enumerate((*at, positions - 1)):
        alignment[:, row, last + 1 - wide : last + 1] = 1 / wide
    return Hypothesis(tokens, (-0.1,) * len(tokens), 0.0, alignment, False)


@pytest.mark.parametrize(("before", "text"), [
    (5, ""), (11, "the"), (25, "the"), (31, "the letter"), (36, "the letter."), (41, "the letter."),
    (46, "the letter. arrived"), (50, "the letter. arrived!")])
def test_whole_words_are_shown_and_the_sign_behind_the_last_waits(before: int, text: str) -> None:
    said = attended((0, 1, 2, 3, 4, 5, 6), (10, 20, 30, 35, 40, 45, 48))
    count = heard_tokens(said, VOCABULARY, before)
    assert VOCABULARY.decode(said.tokens[:count]).strip() == text


def test_a_token_is_heard_where_most_of_its_attention_is_over() -> None:
    said = attended((0,), (30,), wide=10)  # positions 21 to 30
    assert [heard_tokens(said, VOCABULARY, before) for before in (26, 27, 28, 29)] == [0, 0, 1, 1]


def test_the_first_tokens_keep_the_row_behind_them() -> None:
    said = attended((0, 1, 2), (10, 20, 30))
    first = said.first(1)
    assert first.tokens == (0,) and len(first.logprobs) == 1
    assert np.array_equal(first.alignment, said.alignment[:, :2])
    assert heard_tokens(said.first(0), VOCABULARY, 50) == 0


def test_without_alignment_heads_all_is_shown_and_nothing_committed() -> None:
    said = Hypothesis((0, 1, 2), (-0.1,) * 3, 0.0, np.zeros((0, 4, 50), np.float32), False)
    encoder = SimpleNamespace(reset=lambda: None, feed=lambda sound: 0, last_letter=None, settled=50,
                              encoded=lambda: SimpleNamespace(positions=50))
    decoder = SimpleNamespace(vocabulary=VOCABULARY, decode=lambda *given: said, is_speech=lambda found: True)
    shown = Streaming(decoder, encoder, PartialConfig()).update(lambda: np.zeros(0, np.float32))
    assert shown.hypothesis.tokens == (0, 1, 2) and shown.committed == ()
