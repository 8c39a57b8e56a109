"""Utterances that are joined to one recording keep their texts and pauses."""

from __future__ import annotations

import numpy as np

from compress.data.corpus import LONGEST_CLIP_S
from compress.distill.utterance import MOST_JOINED, PAUSES, Utterance, joined
from compress.networks.label import Label

RATE = 16_000
END = 9


def said(ids: list[int], seconds: float, text: str) -> Utterance:
    best = np.array([[i, 0] for i in (*ids, END)], np.int32)
    label = Label(np.array(ids, np.int32), best, np.zeros(best.shape, np.float16), True)
    return Utterance(np.ones(int(seconds * RATE), np.float32), text, label)


def test_texts_follow_each_other_and_only_the_last_ends() -> None:
    (one,) = joined([said([1, 2], 1.0, "a b"), said([3], 1.0, "c")], np.random.default_rng(0))
    assert one.text == "a b c" and one.label is not None
    assert one.label.tokens.tolist() == [1, 2, 3]
    assert one.label.best[:, 0].tolist() == [1, 2, 3, END]
    assert len(one.label.logprobs) == 4 and one.label.ended


def test_between_utterances_is_a_pause_that_the_detector_does_not_end_at() -> None:
    for seed in range(20):
        (one,) = joined([said([1], 1.0, "a"), said([2], 2.0, "b")], np.random.default_rng(seed))
        pause = np.count_nonzero(one.audio == 0.0) / RATE
        assert PAUSES[0] - 1e-3 <= pause <= PAUSES[1]
        assert one.audio[:RATE].all() and one.audio[-2 * RATE :].all()


def test_every_utterance_stays_and_none_becomes_too_long() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        given = [said([i], float(rng.uniform(1, LONGEST_CLIP_S)), str(i)) for i in range(8)]
        made = joined(given, rng)
        assert " ".join(one.text for one in made).split() == [str(i) for i in range(8)]
        for one in made:
            count = len(one.text.split())
            assert count <= MOST_JOINED
            assert count == 1 or len(one.audio) <= LONGEST_CLIP_S * RATE


def test_recordings_without_labels_are_joined_too() -> None:
    silent = [Utterance(np.ones(RATE, np.float32))] * 2
    (one,) = joined(silent, np.random.default_rng(0))
    assert one.label is None and len(one.audio) > 2 * RATE
