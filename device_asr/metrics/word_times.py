"""Errors of word times against times that are known, such as those of a speech synthesizer.

A word counts where it was recognized: known and found words are matched in order by their letters and digits. An error
is the found time less the known one, below 0 where the found one is too early.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from device_asr.events import Seconds, Word
from device_asr.metrics.interval import DRAWS, LEVEL, SEED

_EDGES = string.punctuation + "“”‘’…–—"


@dataclass(frozen=True, slots=True)
class KnownWord:
    """A word that was said, and when; None: unknown."""

    text: str
    start: Seconds | None = None
    end: Seconds | None = None


@dataclass(frozen=True, slots=True)
class WordTimeErrors:
    """Errors in the word times of one clip.

    words, matched: known words, and how many of them were recognized. starts, ends: the errors of those whose times
    are known, in seconds. before_start: words that end before their known start.
    """

    words: int
    matched: int
    starts: tuple[Seconds, ...]
    ends: tuple[Seconds, ...]
    before_start: int


def word_time_errors(known: Sequence[KnownWord], found: Sequence[Word]) -> WordTimeErrors:
    """The errors of the found words' times."""
    said, heard = ([bare(word.text) for word in side] for side in (known, found))
    matcher = SequenceMatcher(None, said, heard, autojunk=False)
    pairs = [
        (known[block.a + k], found[block.b + k]) for block in matcher.get_matching_blocks() for k in range(block.size)
    ]
    return WordTimeErrors(
        words=len(known),
        matched=len(pairs),
        starts=tuple(b.start - a.start for a, b in pairs if a.start is not None),
        ends=tuple(b.end - a.end for a, b in pairs if a.end is not None),
        before_start=sum(a.start is not None and b.end < a.start for a, b in pairs),
    )


def bare(text: str) -> str:
    """A word without case and without punctuation at its edges."""
    return text.strip(_EDGES).casefold()


def summary(clips: Iterable[WordTimeErrors]) -> dict[str, Any] | None:
    """The errors of all clips as JSON values, in seconds; None where no word was matched.

    words, matched, before_start: as in `WordTimeErrors`, summed. starts, ends: None where no such time is known, or
    {n, p50, p95 (of the amounts), p50_interval ([low, high], 95 %, or None), bias (the median with its sign)}.
    """
    clips = list(clips)
    if not any(clip.matched for clip in clips):
        return None
    return {
        "words": sum(clip.words for clip in clips),
        "matched": sum(clip.matched for clip in clips),
        "before_start": sum(clip.before_start for clip in clips),
        "starts": _spread([clip.starts for clip in clips]),
        "ends": _spread([clip.ends for clip in clips]),
    }


def _spread(clips: Sequence[Sequence[Seconds]]) -> dict[str, Any] | None:
    clips = [errors for errors in clips if errors]
    if not clips:
        return None
    every = np.concatenate([np.asarray(errors, np.float64) for errors in clips])
    return {
        "n": len(every),
        "p50": float(np.median(np.abs(every))),
        "p50_interval": _median_interval(clips),
        "p95": float(np.percentile(np.abs(every), 95)),
        "bias": float(np.median(every)),
    }


def _median_interval(clips: Sequence[Sequence[Seconds]]) -> list[float] | None:
    """The 95 % bootstrap interval of the median amount over the clips; None where there are fewer than 2.

    The median of a draw is that of all words, each as often as its clip was drawn.
    """
    if len(clips) < 2:
        return None
    amounts = np.abs(np.concatenate([np.asarray(errors, np.float64) for errors in clips]))
    clip_of = np.repeat(np.arange(len(clips)), [len(errors) for errors in clips])
    order = np.argsort(amounts)
    amounts, clip_of = amounts[order], clip_of[order]
    generator = np.random.default_rng(SEED)
    medians = np.empty(DRAWS // 10)  # a tenth of the draws: the ends vary by 0.06 of the width, 2 ms
    for draw in range(len(medians)):
        often = np.bincount(generator.integers(len(clips), size=len(clips)), minlength=len(clips))[clip_of].cumsum()
        middle = np.searchsorted(often, [(often[-1] + 1) // 2, often[-1] // 2 + 1])
        medians[draw] = amounts[middle].mean()
    low, high = np.quantile(medians, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), float(high)]
