"""Word times from attention: a path through it, punctuation left out, edges drawn in to speech."""

from __future__ import annotations

import numpy as np
import pytest

from device_asr.audio.format import STEP_S
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.decoding.alignment import align_words, is_punctuation, token_starts
from device_asr.decoding.hypothesis import Hypothesis

TOKENS = (b" birch", b" can", b"oe", b",", b" slid", b".", b" \xe2\x80\x94", b" ", b"\xc3", b"\xa9")
BIRCH, CAN, OE, COMMA, SLID, STOP, DASH, SPACE, E1, E2 = range(len(TOKENS))
VOCABULARY = Vocabulary(TOKENS, prompt=(20,), end=21)
POSITION_S = 0.024
SPEAKING = [True] * 200


def said(tokens: tuple[int, ...], spans: list[tuple[int, int]], positions: int = 60, heads: int = 2) -> Hypothesis:
    """Each token, the end too, attends evenly to its span of positions, and a little to all."""
    alignment = np.full((heads, len(tokens) + 1, positions), 0.001, np.float32)
    for k, (first, behind) in enumerate(spans):
        alignment[:, k, first:behind] += 1 / (behind - first)
    return Hypothesis(tokens, (-0.1,) * len(tokens), 0.0, alignment, False)


def times(hypothesis: Hypothesis, active: list[bool] = SPEAKING) -> list[tuple[str, float, float]]:
    """Words with their times in positions."""
    words = align_words(hypothesis, VOCABULARY, POSITION_S, 0.0, active)
    return [(word.text, round(word.start / POSITION_S), round(word.end / POSITION_S)) for word in words]


def test_a_token_starts_where_attention_goes_over_to_it() -> None:
    alignment = said((BIRCH, CAN, OE), [(0, 15), (15, 30), (30, 45), (45, 60)]).alignment
    assert token_starts(alignment).tolist() == [0, 15, 30, 45]


def test_more_tokens_than_positions_are_spread_evenly() -> None:
    assert token_starts(np.ones((1, 6, 3), np.float32)).tolist() == [0, 0, 1, 1, 2, 2]


def test_a_word_goes_from_its_first_token_to_the_next_word() -> None:
    spans = [(0, 15), (15, 30), (30, 40), (40, 55), (55, 60)]
    assert times(said((BIRCH, CAN, OE, SLID), spans)) == [("birch", 0, 15), ("canoe", 15, 40), ("slid", 40, 55)]


@pytest.mark.parametrize("comma", [(30, 40), (38, 50), (12, 16)], ids=["after", "late", "early"])
def test_punctuation_takes_no_part_wherever_its_attention_lies(comma: tuple[int, int]) -> None:
    without = said((BIRCH, CAN, OE, SLID), [(0, 12), (12, 22), (22, 32), (36, 52), (55, 60)])
    spans = [(0, 12), (12, 22), (22, 32), comma, (36, 52), comma, (55, 60)]
    found = times(said((BIRCH, CAN, OE, COMMA, SLID, STOP), spans))
    assert [(text.strip(",."), *span) for text, *span in found] == times(without)
    assert [text for text, *_ in found] == ["birch", "canoe,", "slid."]


def test_a_dash_between_words_takes_no_time() -> None:
    found = times(said((BIRCH, DASH, SLID), [(0, 20), (20, 30), (30, 50), (55, 60)]))
    (_, _, end), (dash, *at), (_, start, _) = found
    assert dash == "—" and at[0] == at[1] == start == end


def test_pieces_of_a_character_count_though_each_alone_is_no_text() -> None:
    found = times(said((BIRCH, SPACE, E1, E2, SLID), [(0, 15), (15, 16), (16, 25), (25, 32), (32, 50), (50, 60)]))
    assert [text for text, *_ in found] == ["birch", "é", "slid"]
    assert found[1][2] - found[1][1] > 10


def test_edges_are_drawn_in_to_speech() -> None:
    """Positions 20 to 40 are a pause, which attention gives to the word before."""
    active = [not 20 * POSITION_S <= k * STEP_S < 40 * POSITION_S for k in range(200)]
    (_, start, end), (_, later, _) = times(said((BIRCH, SLID), [(0, 40), (40, 55), (55, 60)]), active)
    assert start == 0 and end == pytest.approx(20, abs=2) and later == pytest.approx(40, abs=1)


def test_without_heads_there_are_no_words() -> None:
    silent = said((BIRCH,), [(0, 10), (10, 60)], heads=0)
    assert align_words(silent, VOCABULARY, POSITION_S, 0.0, SPEAKING) == ()


@pytest.mark.parametrize(
    ("token", "wanted"),
    [(b",", True), (b" ", True), (b"", True), (" …".encode(), True), (b"%", False), (b"'s", False), (b"\xc3", False)],
)
def test_what_punctuation_is(token: bytes, wanted: bool) -> None:
    assert is_punctuation(token) is wanted
