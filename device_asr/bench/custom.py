"""Custom words in a corpus: how many were recognized where they were spoken, and how many where they were not.

An occurrence is the word or phrase as whole words, as they are spoken (`bundle.symbols.spoken`): case, accents
and punctuation do not count. Within a clip, occurrences beyond those of the reference are false alarms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from device_asr.bundle.symbols import spoken
from device_asr.hotwords.words import Hotword


@dataclass(frozen=True, slots=True)
class Recall:
    """Counts of occurrences.

    said: in the references. found: of these, also in the hypotheses. false_alarms: in the hypotheses alone.
    """

    said: int
    found: int
    false_alarms: int

    @property
    def recall(self) -> float | None:
        """Share of the occurrences in the references that were found; None: there are none."""
        return self.found / self.said if self.said else None


def occurrences(word: str, text: str) -> int:
    """How often `word` stands in `text`, without overlap."""
    wanted, given = spoken(word).split(), spoken(text).split()
    count = at = 0
    while at + len(wanted) <= len(given):
        hit = given[at : at + len(wanted)] == wanted
        count += hit
        at += len(wanted) if hit else 1
    return count


def recall(words: Sequence[Hotword], pairs: Iterable[tuple[str | None, str]]) -> Recall:
    """Counts over (reference, hypothesis); pairs without a reference are left out. Each spoken word counts once."""
    texts = {spoken(word.text) for word in words}
    said = found = false_alarms = 0
    for reference, hypothesis in pairs:
        if reference is None:
            continue
        for text in texts:
            wanted, given = occurrences(text, reference), occurrences(text, hypothesis)
            said, found = said + wanted, found + min(wanted, given)
            false_alarms += max(0, given - wanted)
    return Recall(said, found, false_alarms)
