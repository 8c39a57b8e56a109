"""Custom words in what is shown and in what is final: they come early, and what was committed stays."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from device_asr.bundle.symbols import BLANK, SYMBOLS, spell
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.decoding.hypothesis import Hypothesis
from device_asr.events import Word
from device_asr.hotwords.biasing import Biasing
from device_asr.hotwords.spotter import Spotter
from device_asr.hotwords.words import Hotword
from device_asr.recognition.protocol import Shown
from device_asr.recognition.stream_encoder import StreamEncoder

POSITION = 320
CHUNK = 4  # positions
SYMBOL = 4  # positions from one symbol to the next: 80 ms
ACTIVE = [True] * 1000  # the detector finds speech throughout


class Scripted:
    """A session whose `stream` returns given scores, whatever the audio."""

    def __init__(self, scores: np.ndarray) -> None:
        self.scores, self.calls = scores, 0

    def run(self, method: str, pcm: np.ndarray, at: np.ndarray) -> list[np.ndarray]:
        first = int(at[0])
        self.calls += 1
        rows = np.full((CHUNK, len(SYMBOLS) + 1), -12.0, np.float32)
        rows[:, BLANK] = 0.0
        scripted = self.scores[first : first + CHUNK]
        rows[: len(scripted)] = scripted
        return [rows, np.zeros((1, 2, CHUNK), np.float32), np.zeros((1, CHUNK, 2), np.float32), at + CHUNK]


METHOD: dict[str, Any] = {
    "inputs": [
        {"name": "pcm", "role": "pcm", "shape": [1, CHUNK * POSITION], "dtype": "float32"},
        {"name": "at", "role": "state[0]", "shape": [1], "dtype": "int64", "start": 0},
    ],
    "outputs": [
        {"name": "symbols", "role": "ctc", "shape": [CHUNK, len(SYMBOLS) + 1]},
        {"name": "cross_key_0", "role": "cross_keys[0]", "shape": [1, 2, CHUNK]},
        {"name": "cross_value_0", "role": "cross_values[0]", "shape": [1, CHUNK, 2]},
        {"name": "at", "role": "state[0]", "shape": [1]},
    ],
    "delay": 0,
    "look_ahead": 0,
}


def scores_of(text: str) -> np.ndarray:
    """Scores of a head that emits `text`, a symbol every 80 ms, blanks between."""
    rows = np.full((SYMBOL * len(text), len(SYMBOLS) + 1), -12.0, np.float32)
    rows[:, BLANK] = 0.0
    for k, symbol in enumerate(spell(text)):
        rows[SYMBOL * k, BLANK], rows[SYMBOL * k, symbol] = -12.0, 0.0
    return rows


class Speech:
    """`text` as the decoder writes it, each word while its symbols come; hypotheses grow with the positions."""

    def __init__(self, text: str, said: str | None = None) -> None:
        self.words = text.split()
        said = said or "".join(c for c in text.lower() if c in SYMBOLS)
        starts = [0, *(k + 1 for k, c in enumerate(said) if c == " ")]
        self.spans = [(SYMBOL * a, SYMBOL * (a + len(word))) for a, word in zip(starts, said.split(), strict=True)]
        self.length = SYMBOL * (len(said) + 1)
        self.scores = scores_of(said)
        self.vocabulary = Vocabulary(tuple(f" {word}".encode() for word in self.words), (), len(self.words))

    def written(self, positions: int, holdback: int, drift: int = 0) -> Shown:
        """What the decoder makes of the first positions; words that ended `holdback` positions before are committed.

        drift: positions by which its attention lies late.
        """
        tokens = [k for k, (start, _) in enumerate(self.spans) if start < positions]
        attention = np.zeros((1, len(tokens) + 1, positions), np.float32)
        for k in tokens:
            start, end = np.maximum(0, np.array(self.spans[k]) + drift)
            attention[0, k, start:end] = 1.0
        if tokens:
            attention[0, -1, max(0, self.spans[tokens[-1]][1] + drift) :] = 1.0
        stable = [k for k in tokens[:-1] if self.spans[k][1] <= positions - holdback]
        return Shown(Hypothesis(tuple(tokens), (-0.1,) * len(tokens), 0.0, attention, False), tuple(stable))

    def audio(self) -> np.ndarray:
        return np.zeros(self.length * POSITION, np.float32)

    def final(self, at: float = 0.0) -> list[Word]:
        return [
            Word(text, at + start * 0.02, at + end * 0.02, 0.5)
            for text, (start, end) in zip(self.words, self.spans, strict=True)
        ]


def biasing(speech: Speech, *words: Hotword, shared: bool = True) -> tuple[Biasing, StreamEncoder]:
    encoder = StreamEncoder(METHOD, Scripted(speech.scores), 400)
    return Biasing(Spotter(words), encoder, speech.vocabulary, shared=shared), encoder


def shown(custom: Biasing, update: Shown) -> tuple[str, str]:
    """Text and committed text of a partial, with speech throughout."""
    return custom.shown(update.hypothesis, update.committed, ACTIVE)


def partials(
    speech: Speech, *words: Hotword, cuts: list[int] | None = None, holdback: int = 2, drifts: tuple[int, ...] = (0,)
) -> list[tuple[str, str]]:
    """Text and committed text after every chunk, or where the cuts are."""
    custom, encoder = biasing(speech, *words)
    texts: list[tuple[str, str]] = []
    for at in cuts or range(CHUNK, speech.length + 1, CHUNK):
        encoder.feed(np.zeros(max(0, at * POSITION - encoder.samples), np.float32))
        if encoder.positions:
            update = speech.written(encoder.positions, holdback, drifts[len(texts) % len(drifts)])
            texts.append(shown(custom, update))
    return texts


PRIYA, NEW_YORK_CITY = Hotword("Priya"), Hotword("New York City")
LETTER_TO_PRIYA = Speech("Dear Prea, thank you for all", "dear priya thank you for all")


def test_a_custom_word_is_shown_once_its_symbols_were_emitted() -> None:
    shown = partials(LETTER_TO_PRIYA, PRIYA)
    assert shown[0] == ("Dear", "")
    first = next(k for k, (text, _) in enumerate(shown) if "Priya" in text)
    assert CHUNK * (first + 1) <= SYMBOL * len("dear priya ") + CHUNK
    assert shown[-1][0] == "Dear Priya, thank you for all"


def test_a_word_in_progress_is_not_committed() -> None:
    """The decoder is sure of `Prea` while the symbols of `Priya` are still coming."""
    eager = partials(LETTER_TO_PRIYA, PRIYA, holdback=-20)
    assert not any("Prea" in committed for _, committed in eager)
    assert eager[-1][1].startswith("Dear Priya,")


def test_a_phrase_is_put_in_whole_or_not_at_all() -> None:
    speech = Speech("we saw Newark city again today")
    assert all("New York" not in text for text, _ in partials(speech, NEW_YORK_CITY))
    speech = Speech("we saw the knee walk city again", "we saw in new york city again")
    shown = partials(speech, NEW_YORK_CITY)
    assert shown[-1][0] == "we saw the New York City again"
    assert not any("knee" in committed or "walk" in committed for _, committed in shown)


def test_a_word_that_was_committed_is_not_put_in_again_where_attention_drifts() -> None:
    speech = Speech("Dear Prea, I thank you", "dear priya i thank you")
    custom, encoder = biasing(speech, PRIYA)
    encoder.feed(np.zeros(60 * POSITION, np.float32))
    assert shown(custom, speech.written(60, 16)) == ("Dear Priya, I thank", "Dear Priya,")
    text, _ = shown(custom, speech.written(60, 16, drift=-8))  # `I` seems to be at the end of `Priya`
    assert text == "Dear Priya, I thank"


def test_without_a_word_near_all_stays_as_it_was_written() -> None:
    for (text, committed), at in zip(partials(LETTER_TO_PRIYA, Hotword("Zurich")), range(4, 1000, 4), strict=False):
        plain = LETTER_TO_PRIYA.written(at, 2)
        assert text == " ".join(LETTER_TO_PRIYA.words[k] for k in plain.hypothesis.tokens)
        assert text.startswith(committed)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_what_was_committed_stays(data: st.DataObject) -> None:
    speech = Speech(
        "Dear Prea, the knee walk city is near Prea's house in New York.",
        "dear priya the new york city is near priyas house in new york",
    )
    words = data.draw(
        st.lists(
            st.builds(
                Hotword,
                st.sampled_from(["Priya", "New York City", "York", "City Is", "Priyas House", "New York", "Dear"]),
                st.sampled_from([0.3, 1.0, 4.0, 10.0]),
            ),
            max_size=5,
        )
    )
    cuts = sorted(data.draw(st.sets(st.integers(1, speech.length), min_size=1, max_size=30)))
    drifts = data.draw(st.tuples(st.integers(-12, 12), st.integers(-12, 12), st.integers(-12, 12)))
    before = ""
    for text, committed in partials(speech, *words, cuts=cuts, holdback=data.draw(st.integers(-20, 20)), drifts=drifts):
        assert text.startswith(committed) and committed.startswith(before)
        assert "Priya Priya" not in text and "York York" not in text
        before = committed


def test_the_final_has_them_with_the_confidence_of_what_they_replace() -> None:
    custom, encoder = biasing(LETTER_TO_PRIYA, PRIYA)
    audio = LETTER_TO_PRIYA.audio()
    encoder.feed(audio)
    encoder.end()
    words = custom.final(LETTER_TO_PRIYA.final(7.0), audio, 7.0)
    assert [word.text for word in words] == ["Dear", "Priya,", "thank", "you", "for", "all"]
    assert words[1].confidence == 0.5 and words[1].start == 7 + LETTER_TO_PRIYA.spans[1][0] * 0.02


def test_an_utterance_that_nobody_encoded_in_chunks_is_encoded_at_its_end_once() -> None:
    custom, encoder = biasing(LETTER_TO_PRIYA, PRIYA, shared=False)
    session = encoder._stream._session
    for _ in range(2):
        session.calls = 0
        custom.begin()
        words = custom.final(LETTER_TO_PRIYA.final(), LETTER_TO_PRIYA.audio(), 0.0)
        assert [word.text for word in words][1] == "Priya,"
        assert session.calls == -(-LETTER_TO_PRIYA.length // CHUNK)


def test_of_an_utterance_that_was_cut_what_lies_behind_the_cut_is_not_spotted() -> None:
    custom, encoder = biasing(LETTER_TO_PRIYA, Hotword("You for"))
    encoder.feed(LETTER_TO_PRIYA.audio())
    until = LETTER_TO_PRIYA.spans[3][1]
    words = custom.final(LETTER_TO_PRIYA.final()[:4], LETTER_TO_PRIYA.audio()[: until * POSITION], 0.0)
    assert [word.text for word in words] == ["Dear", "Prea,", "thank", "you"]
