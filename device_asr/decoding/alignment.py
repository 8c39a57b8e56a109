"""Alignment of tokens with the audio, from the cross-attention of the alignment heads.

Word times are computed after openai/whisper's timing.py: median filter over time, mean over heads, dynamic time
warping. Two things differ. Attention is not normalized over tokens, because that makes as much of the little attention
within a pause as of the much within a word. Punctuation takes no part in the path: nothing of it is said. With en-tiny
both together bring the median error of word ends from 290 to 66 ms before pauses in read speech, and from 116 to 103 ms
in synthetic speech.

The monotonic path may stay on a token or go to the next one; it is computed for all tokens at once, 4 ms for 30 tokens
and 5 s.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np

from device_asr.audio.format import STEP_S
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.decoding.hypothesis import Hypothesis
from device_asr.events import Word

MEDIAN = 5  # positions; 7, Whisper's, makes word ends 2.1 ms worse with Moonshine (1.3 to 2.7) and en-tiny's no better
PUNCTUATION = frozenset(" .,;:!?-–—…'\"‘’“”()[]")  # not said; its attention lies somewhere in the pause or behind it
ATTENDED = 0.7  # share of a token's attention before its attended position; by the maximum, 1.6 times the words change


def attended_position(attention: np.ndarray) -> Any:
    """The position up to which a token attends: int (...) from attention (heads, ..., positions)."""
    mean = attention.mean(axis=0)
    return (mean.cumsum(axis=-1) < ATTENDED * mean.sum(axis=-1, keepdims=True)).sum(axis=-1)


def token_starts(attention: np.ndarray) -> np.ndarray:
    """First position of each token: int (tokens,) from attention (heads, tokens, positions).

    With fewer positions than tokens, the tokens are spread evenly.
    """
    _, tokens, positions = attention.shape
    if positions < tokens:
        return np.linspace(0, positions, tokens, endpoint=False).astype(int)
    padded = np.pad(attention, ((0, 0), (0, 0), (MEDIAN // 2, MEDIAN // 2)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, MEDIAN, axis=2)
    gain = np.median(windows, axis=3).mean(axis=0)  # (tokens, positions)
    best = np.full(tokens, -np.inf, np.float64)
    best[0] = gain[0, 0]
    moved = np.zeros((positions, tokens), bool)
    for position in range(1, positions):
        from_previous = np.concatenate(([-np.inf], best[:-1]))
        moved[position] = from_previous > best
        best = np.maximum(best, from_previous) + gain[:, position]
    starts = np.zeros(tokens, int)
    token = tokens - 1
    for position in range(positions - 1, 0, -1):
        if token > 0 and moved[position, token]:
            starts[token] = position
            token -= 1
    return starts


def is_punctuation(token: bytes) -> bool:
    """Whether nothing of a token is said: it is empty, or holds spaces and punctuation alone."""
    return all(symbol in PUNCTUATION for symbol in token.decode("utf-8", errors="replace"))


def align_words(
    hypothesis: Hypothesis, vocabulary: Vocabulary, position_s: float, origin: float, active: Sequence[bool]
) -> tuple[Word, ...]:
    """Words with start, end and confidence; none where the program has no alignment heads.

    Args:
        position_s: seconds of audio of one encoder position.
        origin: seconds of the audio clock at which the utterance's audio starts.
        active: for each step of the utterance (`STEP_S`) whether the detector found speech. The edges of a word
            are drawn in to such steps, because attention assigns pauses to the word before.
    """
    groups = vocabulary.words(hypothesis.tokens)
    if not groups or not len(hypothesis.alignment):
        return ()
    spoken = [k for k, token in enumerate(hypothesis.tokens) if not is_punctuation(vocabulary.bytes_of([token]))]
    starts = token_starts(hypothesis.alignment[:, [*spoken, len(hypothesis.tokens)]]) * position_s
    words = []
    for group in groups:
        text = vocabulary.decode([hypothesis.tokens[k] for k in group]).strip()
        if not text:
            continue
        first, behind = bisect_left(spoken, group[0]), bisect_left(spoken, group[-1] + 1)
        start, end = _draw_in(float(starts[first]), float(starts[behind]), active)
        confidence = float(np.exp(np.mean([hypothesis.logprobs[k] for k in group])))
        words.append(Word(text, round(origin + start, 3), round(origin + end, 3), round(confidence, 4)))
    return tuple(words)


def _draw_in(start: float, end: float, active: Sequence[bool]) -> tuple[float, float]:
    """The part of [start, end] from its first active step to its last; without one, the part within the utterance.

    An utterance that was decoded once more has silence behind it, and attention may go there.
    """
    start, end = min(start, len(active) * STEP_S), min(end, len(active) * STEP_S)
    first, last = int(start / STEP_S), min(len(active), int(np.ceil(end / STEP_S)))
    speech = [k for k in range(first, last) if active[k]]
    if not speech:
        return start, max(start, end)
    return max(start, speech[0] * STEP_S), min(end, (speech[-1] + 1) * STEP_S)
