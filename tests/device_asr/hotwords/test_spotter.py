"""Custom words are spotted where the scores nearly spell them, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_asr.bundle.symbols import BLANK, SYMBOLS, spell
from device_asr.errors import UsageError
from device_asr.events import Word
from device_asr.hotwords.spotter import Spotter, put_in
from device_asr.hotwords.words import Hotword, read_hotwords

POSITION = 0.02  # seconds


def scores_of(text: str, doubts: dict[int, tuple[str, float]] | None = None) -> np.ndarray:
    """Scores of a head that emits `text`, a blank after every symbol; doubts: symbol index -> (another, its score)."""
    scores = []
    for k, symbol in enumerate(spell(text)):
        row = np.full(len(SYMBOLS) + 1, -12.0)
        row[symbol] = 0.0
        if doubts and k in doubts:
            also, value = doubts[k]
            row[spell(also)[0]] = value
        blank = np.full(len(SYMBOLS) + 1, -12.0)
        blank[BLANK] = 0.0
        scores += [row, blank]
    return np.array(scores, np.float32)


def test_a_word_that_was_nearly_emitted_is_found_with_its_place() -> None:
    scores = scores_of("dear prea thank you", {7: ("i", -1.5)})
    (found,) = Spotter([Hotword("Pria")]).find(scores)
    assert found.word.text == "Pria"
    assert found.start == 2 * 4 and found.end == 2 * 9 + 1, "from the space before to the space behind"
    assert found.score == pytest.approx(4 * 0.7 - 1.5, abs=1e-2)


@pytest.mark.parametrize("text", ["pria said so", "it is pria", "pria"])
def test_it_may_begin_or_end_the_utterance(text: str) -> None:
    assert [one.word.text for one in Spotter([Hotword("Pria")]).find(scores_of(text))] == ["Pria"]


@pytest.mark.parametrize("text", ["dear anna thank you", "the prices rise", "caprian", ""])
def test_it_is_not_found_elsewhere(text: str) -> None:
    assert Spotter([Hotword("Pria")]).find(scores_of(text)) == []


def test_weight_decides_how_far_the_scores_may_be() -> None:
    scores = scores_of("dear prua thank you", {7: ("i", -4.0)})
    assert Spotter([Hotword("Pria")]).find(scores) == []
    assert len(Spotter([Hotword("Pria", 3.0)]).find(scores)) == 1


def test_of_overlapping_words_the_better_one_is_taken() -> None:
    scores = scores_of("new york city hall")
    found = Spotter([Hotword("York"), Hotword("New York City"), Hotword("Hall")]).find(scores)
    assert [one.word.text for one in found] == ["New York City", "Hall"], "they share the space between them"


@given(st.lists(st.sampled_from(["anna", "berlin", "the", "of", "coffee"]), min_size=1, max_size=6))
def test_an_emitted_text_holds_its_own_words(words: list[str]) -> None:
    found = Spotter([Hotword("Berlin")]).find(scores_of(" ".join(words)))
    assert len(found) == words.count("berlin")


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_at_any_split_of_the_frames_the_same_is_found(data: st.DataObject) -> None:
    """Also of scores that are no speech, where paths are many and close."""
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    blurred = rng.normal(0, 0.3, (60, len(SYMBOLS) + 1)).astype(np.float32)
    scores = np.concatenate([scores_of("in new york city pria said"), blurred, scores_of("yorkshire pria")])
    spotter = Spotter([Hotword("York"), Hotword("New York City", 2.0), Hotword("Pria"), Hotword("a", 3.0)])
    wanted = spotter.find(scores)
    assert len(wanted) > 3
    spotter.reset()
    for piece in np.split(scores, sorted(data.draw(st.lists(st.integers(0, len(scores)), max_size=8)))):
        spotter.feed(piece)
        spotter.found(ended=data.draw(st.booleans())), spotter.pending()
    assert spotter.found(ended=True) == wanted


def test_a_word_counts_when_its_end_was_emitted_or_the_utterance_is_taken_to_end() -> None:
    scores, spotter = scores_of("dear pria said so"), Spotter([Hotword("Pria")])
    spotter.feed(scores[: 2 * 9])
    assert spotter.found(ended=False) == []
    assert [(one.word.text, one.end) for one in spotter.found(ended=True)] == [("Pria", 2 * 9)]
    spotter.feed(scores[2 * 9 :])
    assert [one.end for one in spotter.found(ended=False)] == [2 * 9 + 1], "what was taken for an end is not kept"


def test_a_word_is_in_progress_from_the_space_before_it_until_it_cannot_be_any_more() -> None:
    spotter, scores = Spotter([Hotword("New York")]), scores_of("in new york")
    spotter.feed(scores[: 2 * 2])
    assert spotter.pending() is None
    spotter.feed(scores[2 * 2 : 2 * 9])
    assert spotter.pending() == 2 * 2
    spotter.reset()
    spotter.feed(scores_of("in newham"))
    assert spotter.pending() is None
    assert Spotter([]).pending() is None


def test_written_words_are_replaced_and_punctuation_stays() -> None:
    words = (Word("Dear", 10.0, 10.16, 0.9), Word("Prea,", 10.2, 10.4, 0.4), Word("thank", 10.44, 10.64, 0.9))
    spotted = Spotter([Hotword("Priya")]).find(scores_of("dear priya thank"))
    assert [word.text for word in put_in(words, spotted, 10.0, POSITION)] == ["Dear", "Priya,", "thank"]


def test_what_is_written_right_already_stays() -> None:
    words = (Word("it's", 0.0, 0.1, 0.9), Word("Pria.", 0.1, 0.3, 0.9))
    assert put_in(words, Spotter([Hotword("PRIA")]).find(scores_of("its pria")), 0.0, POSITION) == words


def test_a_file_of_words(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("# names\nPriya\t2\n\nNew York\n")
    assert read_hotwords(path) == [Hotword("Priya", 2.0), Hotword("New York")]
    for text, wanted in (("東京\n", "cannot be spelled"), ("a\tmuch\n", "line 1"), ("a\t0\n", "weight")):
        path.write_text(text)
        with pytest.raises(UsageError, match=wanted):
            read_hotwords(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_hotwords(tmp_path / "none.txt")
