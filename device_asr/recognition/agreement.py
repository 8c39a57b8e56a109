"""LocalAgreement: of a growing utterance, the words on which successive hypotheses agree are committed.

After Liu et al. 2020 and Machacek et al. 2023 (LocalAgreement-2). The last word of a hypothesis is held
back: it may be cut in the middle, and the full stop behind it is a guess.
"""

from __future__ import annotations

from collections.abc import Sequence

from device_asr.bundle.vocabulary import Vocabulary


class Agreement:
    """Committed tokens of one utterance; they only grow."""

    def __init__(self, vocabulary: Vocabulary, agreement: int) -> None:
        self._vocabulary, self._needed = vocabulary, agreement
        self._recent: list[tuple[int, ...]] = []
        self.committed: tuple[int, ...] = ()

    def add(self, tokens: Sequence[int]) -> None:
        """Takes the next hypothesis, which must begin with what is committed."""
        tokens = tuple(tokens)
        self._recent = [*self._recent, tokens][-self._needed :]
        if len(self._recent) < self._needed:
            return
        shared = _common_prefix(self._recent)
        whole = min(self._whole_words(hypothesis, shared) for hypothesis in self._recent)
        if whole > len(self.committed):
            self.committed = tokens[:whole]

    def _whole_words(self, tokens: tuple[int, ...], shared: int) -> int:
        """Length of the longest prefix within `shared` that ends before a word starts, last word excluded."""
        starts = [group[0] for group in self._vocabulary.words(tokens)]
        return max((s for s in starts if s <= shared), default=0)


def _common_prefix(sequences: Sequence[tuple[int, ...]]) -> int:
    length = 0
    for items in zip(*sequences, strict=False):
        if len(set(items)) > 1:
            break
        length += 1
    return length
