"""How well the confidence of words tells right ones from wrong ones.

A word of a final is right where the word error rate's alignment leaves all of it equal to the reference, both sides
normalized as for the word error rate. A word of which the normalizer leaves nothing (a filler) does not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from device_asr.events import Word
from device_asr.metrics.wer import equal_words, normalize

BINS = 10  # of the calibration error, of equal width


def judged(reference: str, words: Sequence[Word]) -> list[tuple[float, bool]]:
    """The confidence of each word, and whether the word is right."""
    parts = [normalize(word.text).split() for word in words]
    equal = equal_words(normalize(reference), " ".join(part for one in parts for part in one))
    found, at = [], 0
    for word, part in zip(words, parts, strict=True):
        if part:
            found.append((word.confidence, all(equal[at : at + len(part)])))
        at += len(part)
    return found


def summary(clips: Iterable[Sequence[tuple[float, bool]]]) -> dict[str, Any] | None:
    """The words of all clips as JSON values; None where there are none.

    n, wrong: words, and how many are wrong. auc: the probability that a right word has more confidence than a wrong
    one, ties as halves; None where all are right or all wrong. right_mean, wrong_mean: mean confidence of each kind.
    calibration_error: the mean distance of confidence and share of right words over 10 bins of confidence, each
    weighted by its words (expected calibration error, Guo et al. 2017).
    """
    pairs = [pair for clip in clips for pair in clip]
    if not pairs:
        return None
    confidence = np.array([value for value, _ in pairs])
    right = np.array([one for _, one in pairs])
    return {
        "n": len(pairs),
        "wrong": int((~right).sum()),
        "auc": _auc(confidence[right], confidence[~right]),
        "right_mean": _mean(confidence[right]),
        "wrong_mean": _mean(confidence[~right]),
        "calibration_error": _calibration_error(confidence, right),
    }


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _auc(right: np.ndarray, wrong: np.ndarray) -> float | None:
    if not len(right) or not len(wrong):
        return None
    ordered = np.sort(right)
    below, upto = np.searchsorted(ordered, wrong, "left"), np.searchsorted(ordered, wrong, "right")
    return float((len(right) - (below + upto) / 2).mean() / len(right))


def _calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = (abs(float((confidence[bins == k] - right[bins == k]).sum())) for k in range(BINS))
    return sum(gaps) / len(confidence)
