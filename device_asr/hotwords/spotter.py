"""Spots custom words in the scores of the CTC head and puts them in the place of the decoder's words.

After the CTC word spotter of Andrusenko et al. 2024: the best path through a word's symbols is compared
with the best path without the word, frame by frame. A word that costs less than its bonus was said. The
decoder's search is not changed, so a list of words costs nothing where none of them is near.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np

from device_asr.bundle.symbols import BLANK, SYMBOLS, spell, spoken
from device_asr.events import Seconds, Word
from device_asr.hotwords.words import Hotword

BONUS = 0.7  # nats a symbol for a word of weight 1
OVERLAP = 0.5  # share of a written word that must lie within a spotted one for the written one to be replaced
SHARED = 0.4  # share of the shorter of two spotted words that may lie in the other
NEVER = -1e30


@dataclass(frozen=True, slots=True)
class Spotted:
    """A hotword with its place.

    start, end: frames [start, end) of the CTC head. score: nats by which the path with the word is the better one.
    """

    word: Hotword
    start: int
    end: int
    score: float


class Spotter:
    """Finds hotwords in the scores of a CTC head; all words at once, frame by frame.

    Each word is a row of states: its symbols with a space on either side, as the head emits it between words,
    and a blank between any two. All rows lie in one array, each behind a state that no path enters, so that a
    frame is a few operations on that array, whatever the number of words.

    The spotter keeps the value and the first frame of each state's best path, and the words found so far, so
    that it finds the same words at any split of the frames. frames: fed so far.
    """

    def __init__(self, words: Iterable[Hotword]) -> None:
        self.words = tuple(words)
        space = SYMBOLS.index(" ") + 1
        wall = len(SYMBOLS) + 1  # a symbol that no frame has
        labels: list[int] = []
        skips: list[bool] = []  # whether the blank before may be left out: between different symbols
        self._first = np.empty(len(self.words), np.intp)
        self._last = np.empty(len(self.words), np.intp)
        for k, word in enumerate(self.words):
            ids = [space, *spell(word.text), space]
            self._first[k] = len(labels) + 1
            labels += [wall, space]
            skips += [False, False]
            for before, symbol in itertools.pairwise(ids):
                labels += [BLANK, symbol]
                skips += [False, before != symbol]
            self._last[k] = len(labels) - 1
        self._labels = np.array(labels, np.intp)
        self._skips = np.where(np.array(skips, bool), 0.0, NEVER).astype(np.float32)
        self._bonus = np.array([BONUS * word.weight * len(spell(word.text)) for word in self.words], np.float32)
        self._state_bonus = np.repeat(self._bonus, np.diff([*(self._first - 1), len(labels)]))
        self.reset()

    def reset(self) -> None:
        """Forgets the frames of the utterance."""
        self.frames = 0
        self._value = np.full(len(self._labels), NEVER, np.float32)
        self._began = np.zeros(len(self._labels), np.int32)
        self._best: dict[tuple[int, int], tuple[float, int]] = {}  # (word, first frame) -> gain, frame after the last

    def feed(self, scores: np.ndarray) -> None:
        """Takes the scores of more frames, (frames, symbols) float32, logits or log-probabilities."""
        if not self.words or not len(scores):
            return
        relative = np.full((len(scores), len(SYMBOLS) + 2), NEVER, np.float32)
        relative[:, :-1] = scores - scores.max(axis=1, keepdims=True)
        for row in relative:
            self._step(row)
            self._keep(self._last, self._best)

    def after(self, scores: np.ndarray) -> Spotter:
        """A copy that has taken the scores of more frames, (frames, symbols) float32; this one stays as it is."""
        later = copy(self)  # arrays are replaced, never written to
        later._best = dict(self._best)
        later.feed(scores)
        return later

    def _step(self, row: np.ndarray) -> None:
        value, began = self._value, self._began
        best, since = value.copy(), began.copy()
        np.copyto(since[1:], began[:-1], where=value[:-1] > best[1:])
        np.maximum(best[1:], value[:-1], out=best[1:])
        leap = value[:-2] + self._skips[2:]
        np.copyto(since[2:], began[:-2], where=leap > best[2:])
        np.maximum(best[2:], leap, out=best[2:])
        # a word may begin here: at its space; where the utterance begins, at its first symbol or the blank before
        for later in (0, 1, 2) if self.frames == 0 else (0,):
            fresh = (self._first + later)[best[self._first + later] < 0.0]
            best[fresh], since[fresh] = 0.0, self.frames
        best += row.take(self._labels, mode="clip")  # clip: three times as fast as checked indices
        self._value, self._began = best, since
        self.frames += 1

    def _keep(self, ends: np.ndarray, best: dict[tuple[int, int], tuple[float, int]]) -> None:
        gain = self._value[ends] + self._bonus
        for k in np.flatnonzero(gain > 0).tolist():
            key = k, int(self._began[ends[k]])
            if key not in best or gain[k] > best[key][0]:
                best[key] = float(gain[k]), self.frames

    def found(self, *, ended: bool) -> list[Spotted]:
        """The words found so far in order of time; of overlapping ones the best, neighbors may share a space.

        Args:
            ended: the utterance ends here, or is treated as if it did: a word counts with its last symbol, without
                the space behind it.
        """
        best = self._best
        if ended and self.words and self.frames:
            best = dict(best)
            for ends in (self._last - 1, self._last - 2):
                self._keep(ends, best)
        return _choose([Spotted(self.words[k], start, end, round(gain, 3)) for (k, start), (gain, end) in best.items()])

    def pending(self) -> int | None:
        """The first frame of all words in progress, which may yet be found; None: there is none."""
        live = self._value + self._state_bonus > 0
        return int(self._began[live].min()) if live.any() else None

    def find(self, scores: np.ndarray) -> list[Spotted]:
        """The words of a whole utterance, (frames, symbols) float32."""
        self.reset()
        self.feed(scores)
        return self.found(ended=True)


def _choose(candidates: Sequence[Spotted]) -> list[Spotted]:
    chosen: list[Spotted] = []
    for one in sorted(candidates, key=lambda c: (-c.score, c.start, c.end, c.word.text)):
        # neighbors share the space between them, which may be long
        if all(
            min(one.end, other.end) - max(one.start, other.start)
            < SHARED * min(one.end - one.start, other.end - other.start)
            for other in chosen
        ):
            chosen.append(one)
    return sorted(chosen, key=lambda spotted: spotted.start)


@dataclass(frozen=True, slots=True)
class Replacement:
    """Words [first, last) give way to `word`, which ends at `until` seconds where it was spotted."""

    first: int
    last: int
    word: Word
    until: float


def lies_within(word: Word, start: float, end: float) -> bool:
    """Whether as much of the word lies in [start, end) as makes it a part of what was spotted there."""
    return min(end, word.end) - max(start, word.start) >= OVERLAP * max(word.end - word.start, 1e-3)


def replacements(
    words: Sequence[Word], spotted: Sequence[Spotted], origin: Seconds, frame: Seconds
) -> list[Replacement]:
    """Where spotted words replace the written ones that lie within them; punctuation at the edges stays.

    Args:
        origin: seconds of the words' clock at frame 0. frame: seconds from one frame to the next.
    """
    found: list[Replacement] = []
    taken = 0
    for one in spotted:
        start, end = origin + one.start * frame, origin + one.end * frame
        within = [k for k, word in enumerate(words) if lies_within(word, start, end)]
        if not within or within[0] < taken:
            continue
        taken = within[-1] + 1
        given = words[within[0] : taken]
        if spoken(" ".join(word.text for word in given)) == spoken(one.word.text):
            continue
        before = given[0].text[: len(given[0].text) - len(given[0].text.lstrip("\"'([{"))]
        after = given[-1].text[len(given[-1].text.rstrip(".,;:!?\"')]}")) :]
        word = Word(
            before + one.word.text + after, given[0].start, given[-1].end, min(word.confidence for word in given)
        )
        found.append(Replacement(within[0], taken, word, end))
    return found


def put_in(words: Sequence[Word], spotted: Sequence[Spotted], origin: Seconds, frame: Seconds) -> tuple[Word, ...]:
    """The words with spotted ones in place; see `replacements`."""
    out = list(words)
    for one in reversed(replacements(words, spotted, origin, frame)):
        out[one.first : one.last] = [one.word]
    return tuple(out)
