"""Drafts: what an earlier hypothesis said is checked in one call, and stays where it is likely enough."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_asr.decoding.decoder import Decoder
from device_asr.decoding.hypothesis import Encoded
from device_asr.decoding.run import Draft
from tests.support.token_chain import TokenChain, chained

A, B, C, D = 0, 1, 2, 3


# the text is " A B D"; after A comes C almost as likely as B
COSTS = {None: {A: 0.0}, A: {B: 0.0, C: 0.4}, B: {D: 0.0}, C: {D: 0.0}, D: {C: 5.0, None: 0.5}}


@pytest.fixture
def made(bundle: Path) -> tuple[Decoder, TokenChain, Encoded]:
    return chained(bundle, COSTS)


@pytest.mark.parametrize("draft", [[], [A, B, D]])
def test_the_text_ends_with_the_token_that_was_heard_far_enough(bundle: Path, draft: list[int]) -> None:
    """Not before what is forced is over; the rows of attention are those of its tokens and one more."""
    decoder, _, encoded = chained(bundle, COSTS)
    asked: list[np.ndarray] = []
    found = decoder.decode(encoded, draft, enough=lambda attention: asked.append(attention) or len(asked) == 2)
    assert found.tokens == (A, B) and not found.looped and found.alignment.shape == (1, 3, 50)
    assert all(attention.shape == (1, 50) for attention in asked)
    assert decoder.decode(encoded, draft, [A, B], enough=lambda attention: True).tokens == (A, B, D)


@settings(max_examples=30, deadline=None)
@given(draft=st.lists(st.sampled_from([A, B, C, D]), max_size=6))
def test_a_draft_changes_nothing_but_the_calls(bundle: Path, draft: list[int]) -> None:
    decoder, _, encoded = chained(bundle, COSTS)
    assert decoder.decode(encoded, draft).tokens == decoder.decode(encoded).tokens == (A, B, D)


def test_a_right_draft_is_checked_in_one_call(made: tuple[Decoder, TokenChain, Encoded]) -> None:
    decoder, chain, encoded = made
    decoder.decode(encoded, (A, B, D))
    assert chain.calls == [2 + 3], "with the prompt"
    chain.calls.clear()
    decoder.decode(encoded)
    assert chain.calls == [2, 1, 1, 1]


@pytest.mark.parametrize("draft", [(C, A, B, D), (C, D, A, B, D), (C, C, C, A, B, D)])
def test_a_draft_is_taken_up_again_behind_a_wrong_word(
    made: tuple[Decoder, TokenChain, Encoded], draft: tuple[int, ...]
) -> None:
    decoder, chain, encoded = made
    assert decoder.decode(encoded, draft).tokens == (A, B, D)
    assert chain.calls == [2 + len(draft), 3]


def test_a_draft_is_sought_further_on_the_longer_the_text_is_another_one() -> None:
    draft = Draft([C, C, C, C, C, A, B])
    for token, rest in ((D, []), (A, []), (A, [B]), (B, []), (A, [])):
        draft.take(token)
        assert draft.rest == rest


@pytest.mark.parametrize(("bias", "text"), [(0.0, (A, B, D)), (0.3, (A, B, D)), (0.5, (A, C, D))])
def test_a_word_of_the_draft_stays_unless_another_is_more_likely(
    made: tuple[Decoder, TokenChain, Encoded], bias: float, text: tuple[int, ...]
) -> None:
    decoder, _, encoded = made
    assert decoder.decode(encoded, (A, C, D), bias=bias).tokens == text


def test_the_draft_is_not_favored_while_the_text_is_another_one(made: tuple[Decoder, TokenChain, Encoded]) -> None:
    decoder, _, encoded = made
    assert decoder.decode(encoded, (D, C, D), bias=0.5).tokens == (A, B, D)
    assert decoder.decode(encoded, (C, A, C, D), bias=0.5).tokens == (A, C, D), "taken up again"
    assert decoder.decode(encoded, (A,), bias=0.5).tokens == (A, B, D), "it ends there: no opinion"


def test_more_than_a_few_new_words_are_a_loop(made: tuple[Decoder, TokenChain, Encoded]) -> None:
    """What an update may cost is bounded: the guards against loops let 68 tokens pass in 5 s."""
    decoder, _, encoded = made
    assert not decoder.decode(encoded, (A, B), more=1).looped
    cut = decoder.decode(encoded, (A,), more=1)
    assert cut.looped and cut.tokens == (A, B)
