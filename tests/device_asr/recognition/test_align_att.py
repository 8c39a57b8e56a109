"""What is shown of a hypothesis: words whose attention lies before the last moments of the audio."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from device_asr.bundle.vocabulary import Vocabulary
from device_asr.config import PartialConfig
from device_asr.decoding.ctc import CtcSymbol
from device_asr.decoding.hypothesis import Hypothesis
from device_asr.recognition.align_att import LONGEST_DECODED_S, AlignAtt, attended_tokens, attended_until

PIECES = (b" the", b" lett", b"er", b".", b" ar", b"rived", b"!")
VOCABULARY = Vocabulary(PIECES, (8, 10), 7, 9)


def attended(tokens: tuple[int, ...], at: tuple[int, ...], positions: int = 50, wide: int = 1) -> Hypothesis:
    """Each token, and the end, attends evenly to `wide` positions up to and including `at`."""
    alignment = np.zeros((2, len(tokens) + 1, positions), np.float32)
    for row, last in enumerate((*at, positions - 1)):
        alignment[:, row, last + 1 - wide : last + 1] = 1 / wide
    return Hypothesis(tokens, (-0.1,) * len(tokens), 0.0, alignment, False)


@pytest.mark.parametrize(
    ("before", "text"),
    [
        (5, ""),
        (11, "the"),
        (25, "the"),
        (31, "the letter"),
        (36, "the letter."),
        (41, "the letter."),
        (46, "the letter. arrived"),
        (50, "the letter. arrived!"),
    ],
)
def test_whole_words_are_shown_and_the_punctuation_behind_the_last_waits(before: int, text: str) -> None:
    said = attended((0, 1, 2, 3, 4, 5, 6), (10, 20, 30, 35, 40, 45, 48))
    count = attended_tokens(said, VOCABULARY, attended_until(said), before)
    assert VOCABULARY.decode(said.tokens[:count]).strip() == text


def test_a_token_attends_until_most_of_its_attention_is_over() -> None:
    said = attended((0,), (30,), wide=10)  # positions 21 to 30
    until = attended_until(said)
    assert until == 27 and [attended_tokens(said, VOCABULARY, until, at) for at in (26, 27, 28, 29)] == [0, 0, 1, 1]


def test_the_first_tokens_keep_the_row_behind_them() -> None:
    said = attended((0, 1, 2), (10, 20, 30))
    first = said.first(1)
    assert first.tokens == (0,) and len(first.logprobs) == 1
    assert np.array_equal(first.alignment, said.alignment[:, :2])
    assert attended_tokens(said.first(0), VOCABULARY, attended_until(said.first(0)), 50) == 0


class Speech:
    """An encoder and a decoder of a speech without end: word i lies in the 20 positions up to 20 (i + 1).

    The decoder writes the words of the positions that it is given, and attends to where they lie.
    """

    def __init__(self) -> None:
        self.vocabulary = Vocabulary(
            tuple(f" w{i}".encode() for i in range(300)),
            (301, 303),
            300,
            302,
        )
        self.positions = self.settled = 0
        self.emits = True
        self.last_symbol: CtcSymbol | None = None
        self.chunk_positions, self.samples_per_position = 16, 320
        self.asked: list[tuple[int, int]] = []  # the first position and how many

    def encoded(self, first: int = 0, spoken: bool = False) -> SimpleNamespace:
        self.spoken = spoken
        self.asked.append((first, self.positions - first))
        return SimpleNamespace(first=first, positions=self.positions - first)

    def decode(
        self,
        encoded: SimpleNamespace,
        draft: tuple[int, ...],
        forced: tuple[int, ...],
        *,
        more: int,
        enough: Callable[[np.ndarray], bool],
    ) -> Hypothesis:
        tokens = tuple(range(-(-encoded.first // 20), self.positions // 20))
        assert tokens[: len(forced)] == forced, "what is committed and not left behind is in the frames"
        assert tokens[: len(draft)] == draft and len(tokens) <= len(draft) + more
        ends = [20 * (i + 1) - 1 - encoded.first for i in tokens]
        said = attended(tokens, tuple(ends), encoded.positions, 5)
        stop = next((i for i in range(len(forced), len(tokens)) if enough(said.alignment[:, i])), len(tokens))
        return said.first(min(stop + 1, len(tokens)))

    def is_speech(self, hypothesis: Hypothesis) -> bool:
        return bool(hypothesis.tokens)


def test_what_is_decoded_does_not_grow_with_the_utterance() -> None:
    speech = Speech()
    partials = AlignAtt(speech, speech, PartialConfig())
    for speech.positions in range(16, 3000, 16):  # a minute
        speech.settled = max(0, speech.positions - 32)
        shown = partials.update(lambda: np.zeros(0, np.float32), 0.0, True)
        if shown is not None:
            said = max(1, (speech.positions - PartialConfig().holdback_ms // 20) // 20)
            assert shown.hypothesis.tokens == tuple(range(said)), "nothing that was shown is lost"
            assert shown.committed == shown.hypothesis.tokens[: len(shown.committed)]
            until = attended_until(shown.hypothesis).tolist()
            assert all(at in (0, 20 * i + 18) for i, at in enumerate(until)) and until[-3:].count(0) == 0
    assert max(count for _, count in speech.asked) <= LONGEST_DECODED_S / 0.02 + 16
    assert partials.draft == tuple(range(said + 1)), "the first word that is held back is the last that is sought"
    partials.begin()
    speech.positions = 64
    partials.update(lambda: np.zeros(0, np.float32), 0.0, True)
    assert speech.asked[-1] == (0, 64), "a new utterance is decoded from its beginning"


def test_in_a_pause_the_last_word_is_shown() -> None:
    """Its audio is over: what is held back is what may still go on."""
    speech = Speech()
    partials = AlignAtt(speech, speech, PartialConfig())
    speech.positions, speech.settled = 64, 32
    shown = [partials.update(lambda: np.zeros(0, np.float32), pause, True) for pause in (0.0, 0.2, 0.4)]
    assert [one and len(one.hypothesis.tokens) for one in shown] == [2, 2, 3]


class Ending(Speech):
    """Its decoder takes word 2 for the last where it decodes from the beginning, though CTC symbols go on."""

    def decode(self, encoded: SimpleNamespace, *given: object, **more: object) -> Hypothesis:
        said = super().decode(encoded, *given, **more)
        return said.first(3) if encoded.first == 0 else said


def test_where_the_decoder_ends_too_soon_it_goes_on_behind_the_last_word() -> None:
    speech = Ending()
    partials = AlignAtt(speech, speech, PartialConfig())
    shown = []
    for speech.positions in range(16, 320, 16):
        speech.settled = max(0, speech.positions - 32)
        speech.last_symbol = CtcSymbol("a", speech.positions - 1)
        shown.append(partials.update(lambda: np.zeros(0, np.float32), 0.0, True))
    counts = [len(one.hypothesis.tokens) for one in shown if one]
    assert counts == sorted(counts) and counts[-1] == (304 - PartialConfig().holdback_ms // 20) // 20
    assert {first for first, _ in speech.asked if first} == {59}, "once, right behind word 2"


class Mute(Speech):
    """A stream without a CTC head, whose positions are of 24 ms."""

    def __init__(self) -> None:
        super().__init__()
        self.emits, self.samples_per_position, self.chunk_samples = False, 384, 16 * 384
        self.completed, self.waiting, self.previewed = 1, 0, False


def test_without_a_ctc_head_every_chunk_may_bring_words() -> None:
    speech = Mute()
    partials = AlignAtt(speech, speech, PartialConfig())
    assert not partials.due(0.1, 0.48), "nothing was encoded"
    asked, shown = [], []
    for speech.positions in range(16, 320, 16):
        speech.settled = max(0, speech.positions - 32)
        asked.append(partials.due(1.0, 0.48))
        shown.append(partials.update(lambda: np.zeros(0, np.float32), 0.0, True))
        assert not partials.due(1.0, 0.48), "the same positions bring nothing new"
    assert all(asked)
    assert shown[-1] is not None and len(shown[-1].hypothesis.tokens) == (304 - 460 * 16 // 384) // 20
    assert shown[-1].committed == shown[-1].hypothesis.tokens[: len(shown[-1].committed)] != ()


def test_lengths_are_seconds_whatever_a_position_is() -> None:
    speech = Mute()
    partials = AlignAtt(speech, speech, PartialConfig())
    for speech.positions in range(16, 3000, 16):
        speech.settled = max(0, speech.positions - 32)
        partials.update(lambda: np.zeros(0, np.float32), 0.0, True)
    most = max(count for _, count in speech.asked) * 0.024
    assert LONGEST_DECODED_S - 0.5 <= most <= LONGEST_DECODED_S + 0.5


def test_a_later_part_of_an_utterance_may_be_without_words() -> None:
    speech = Speech()
    partials = AlignAtt(speech, speech, PartialConfig())
    spoken = {}
    for speech.positions in range(16, 1200, 16):
        speech.settled = max(0, speech.positions - 32)
        partials.update(lambda: np.zeros(0, np.float32), 0.0, True)
        spoken[speech.asked[-1][0] == 0] = speech.spoken
    assert spoken == {True: True, False: False}
