"""Custom words: spotted in what the CTC head heard, put in place of what the decoder wrote there.

After the CTC word spotter of Andrusenko et al. 2024: each word's best path through the letters is compared
with the best path without it, frame by frame. A word that costs less than its bonus was said. The decoder's
own search is left alone, so that a list of words costs nothing where none of them is near.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device_asr.ctc import BLANK, SYMBOLS, spell, spoken
from device_asr.errors import UsageError
from device_asr.events import Word

BONUS = 0.7  # nats a letter for a word of weight 1
OVERLAP = 0.5  # share of a written word within a spotted one that makes it give way
SHARED = 0.4  # share of the shorter of two spotted words that may lie in the other
NEVER = -1e30
SECONDS_PER_FRAME = 0.02


@dataclass(frozen=True)
class Hotword:
    """A word or phrase as it is to be written, and how much it is favoured (1: usual)."""

    text: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not spoken(self.text):
            raise UsageError(f"Hotword {self.text!r} cannot be spelled with the model's letters ({SYMBOLS.strip()}); "
                             "write it as it is spoken in English.")
        if not 0 < self.weight <= 10:
            raise UsageError(f"Hotword {self.text!r}: wanted a weight above 0 and up to 10, found {self.weight}.")


def read_hotwords(path: Path) -> list[Hotword]:
    """Words of a file, one a line, `text` or `text<tab>weight`; empty lines and lines with # are skipped.

    Raises:
        UsageError: unreadable, a line that is not a word and a number, or a word that cannot be spelled.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Hotwords {path} cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}; "
                         "wanted a text file with one word or phrase a line.") from None
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        text, _, weight = line.partition("\t")
        try:
            found.append(Hotword(text.strip(), float(weight) if weight.strip() else 1.0))
        except ValueError:
            raise UsageError(f"{path}, line {number}: wanted a word and, after a tab, a number, "
                             f"found {line[:60]!r}.") from None
        except UsageError as error:
            raise UsageError(f"{path}, line {number}: {error}") from None
    return found


@dataclass(frozen=True, slots=True)
class Spotted:
    """A hotword, its frames [start, end), and how much better than nothing it is, in nats."""

    word: Hotword
    start: int
    end: int
    score: float


class Spotter:
    """Finds hotwords in the scores of a CTC head; all words at once, frame by frame."""

    def __init__(self, words: Iterable[Hotword]) -> None:
        self.words = tuple(words)
        # a space on either side, as the head writes it between words
        space = SYMBOLS.index(" ") + 1
        spelled = [[space, *spell(word.text), space] for word in self.words]
        width = 2 * max((len(ids) for ids in spelled), default=0) + 1
        self._labels = np.full((len(spelled), width), BLANK)
        self._skips = np.zeros((len(spelled), width), bool)  # a blank between different letters may be left out
        self._last = np.array([2 * len(ids) - 1 for ids in spelled], int)
        for row, ids in enumerate(spelled):
            self._labels[row, 1 : 2 * len(ids) : 2] = ids
            for k in range(1, len(ids)):
                self._skips[row, 2 * k + 1] = ids[k] != ids[k - 1]
        self._bonus = np.array([BONUS * word.weight * len(spell(word.text)) for word in self.words])

    def find(self, scores: np.ndarray) -> list[Spotted]:
        """Words that do not overlap but for the space between them, best first chosen, in order of time.

        Args:
            scores: (frames, symbols) float32, logits or log-probabilities.
        """
        if not self.words or not len(scores):
            return []
        relative = scores - scores.max(axis=1, keepdims=True)
        words, width = self._labels.shape
        value = np.full((words, width), NEVER)
        began = np.zeros((words, width), int)
        candidates: list[tuple[float, int, int, int]] = []
        rows = np.arange(words)
        for frame, row in enumerate(relative):
            step = np.concatenate([np.full((words, 1), NEVER), value[:, :-1]], axis=1)
            leap = np.where(self._skips, np.concatenate([np.full((words, 2), NEVER), value[:, :-2]], axis=1), NEVER)
            options = np.stack([value, step, leap])
            origins = np.stack([began, np.roll(began, 1, axis=1), np.roll(began, 2, axis=1)])
            best = options.argmax(axis=0)
            value = np.take_along_axis(options, best[None], 0)[0]
            began = np.take_along_axis(origins, best[None], 0)[0]
            # a word may begin here: at its space; where the phrase begins, at its first letter or the blank before
            for first in (1, 2, 3) if frame == 0 else (1,):
                fresh = value[:, first] < 0.0
                value[fresh, first], began[fresh, first] = 0.0, frame
            value = value + row[self._labels]
            ends = self._last
            if frame == len(relative) - 1:  # where the phrase ends, after its last letter or the blank behind it too
                tails = np.stack([self._last, self._last - 1, self._last - 2])
                ends = np.take_along_axis(tails, value[rows, tails].argmax(axis=0)[None], 0)[0]
            gain = value[rows, ends] + self._bonus
            candidates += [(float(gain[k]), int(k), int(began[k, ends[k]]), frame + 1)
                           for k in np.flatnonzero(gain > 0)]
        return self._choose(candidates)

    def _choose(self, candidates: Sequence[tuple[float, int, int, int]]) -> list[Spotted]:
        chosen: list[Spotted] = []
        for gain, k, start, end in sorted(candidates, key=lambda c: (-c[0], c[2], c[3])):
            # neighbours share the space between them, which may be long
            if all(min(end, other.end) - max(start, other.start) < SHARED * min(end - start, other.end - other.start)
                   for other in chosen):
                chosen.append(Spotted(self.words[k], start, end, round(gain, 3)))
        return sorted(chosen, key=lambda spotted: spotted.start)


def put_in(words: Sequence[Word], spotted: Sequence[Spotted], origin: float) -> tuple[Word, ...]:
    """The words with spotted ones in place of those that lie within them; signs at the edges stay.

    Args:
        origin: seconds of the audio clock at frame 0.
    """
    out = list(words)
    for one in spotted:
        start, end = origin + one.start * SECONDS_PER_FRAME, origin + one.end * SECONDS_PER_FRAME
        within = [k for k, word in enumerate(out)
                  if min(end, word.end) - max(start, word.start) >= OVERLAP * max(word.end - word.start, 1e-3)]
        if not within or spoken(" ".join(out[k].text for k in within)) == spoken(one.word.text):
            continue
        first, last = out[within[0]], out[within[-1]]
        before = first.text[: len(first.text) - len(first.text.lstrip("\"'([{"))]
        after = last.text[len(last.text.rstrip(".,;:!?\"')]}")) :]
        word = Word(before + one.word.text + after, first.start, last.end, min(out[k].confidence for k in within))
        out[within[0] : within[-1] + 1] = [word]
    return tuple(out)
