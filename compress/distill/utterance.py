"""Utterances of a training run, and several of them in one recording.

Between sentences speakers pause for less than the voice activity detector waits. A network that has heard single
sentences alone ends after the first of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compress.data.corpus import LONGEST_CLIP_S
from compress.networks.label import Label
from device_asr.audio.format import SAMPLE_RATE

PAUSES = (0.1, 0.6)  # seconds between joined utterances
MOST_JOINED = 3  # utterances


@dataclass(frozen=True)
class Utterance:
    """A recording, (n,) float32 at 16 kHz, with its text and the label in the student's tokens.

    text: empty and label: None where nothing is learned from labels.
    """

    audio: np.ndarray
    text: str = ""
    label: Label | None = None


def joined(utterances: Sequence[Utterance], rng: np.random.Generator) -> list[Utterance]:
    """Neighbors in twos and threes with pauses between them, as far as they are not longer than `LONGEST_CLIP_S`."""
    left, made = list(utterances), list[Utterance]()
    while left:
        group = [left.pop(0)]
        for _ in range(int(rng.integers(1, MOST_JOINED))):
            if left and fits(group, left[0]):
                group.append(left.pop(0))
        made.append(join(group, rng))
    return made


def fits(group: Sequence[Utterance], one: Utterance) -> bool:
    """Whether the recordings with the longest pauses are short enough."""
    samples = sum(len(other.audio) for other in (*group, one)) + len(group) * int(PAUSES[1] * SAMPLE_RATE)
    return samples <= LONGEST_CLIP_S * SAMPLE_RATE


def join(group: Sequence[Utterance], rng: np.random.Generator) -> Utterance:
    """One recording of several utterances with random pauses between them."""
    audio = [group[0].audio]
    for one in group[1:]:
        audio += [np.zeros(int(rng.uniform(*PAUSES) * SAMPLE_RATE), np.float32), one.audio]
    labels = [one.label for one in group if one.label is not None]
    return Utterance(
        np.concatenate(audio), " ".join(one.text for one in group), join_labels(labels) if labels else None
    )


def join_labels(labels: Sequence[Label]) -> Label:
    """The texts one after another; only the last one's end stays."""

    def rows(parts: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([*(part[:-1] for part in parts[:-1]), parts[-1]])

    return Label(
        np.concatenate([label.tokens for label in labels]),
        rows([label.best for label in labels]),
        rows([label.logprobs for label in labels]),
        all(label.ended for label in labels),
    )
