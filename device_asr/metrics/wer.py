"""Word and character error rate at corpus level, with Whisper's English normalizer, and loops.

The normalizer (package `whisper-normalizer`, from openai/whisper) is applied to both sides: case,
punctuation, fillers, spelling variants and numbers do not count. Alignment is jiwer's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

LOOP_RATIO = 1.5  # a hypothesis this many times longer than its reference is a loop,
LOOP_MARGIN = 3  # if by more words than this: binds only below 6 words, where "oh no" for "no" is no loop


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Counts over a corpus.

    clips: pairs compared. words: in the normalized references. cer: character error rate.
    loops: clips whose hypothesis `is_loop`. wer, cer are None where the references hold nothing.
    """

    clips: int
    words: int
    substitutions: int
    deletions: int
    insertions: int
    cer: float | None
    loops: int

    @property
    def wer(self) -> float | None:
        """Word error rate: all errors over all words of the references."""
        return (self.substitutions + self.deletions + self.insertions) / self.words if self.words else None


def normalize(text: str) -> str:
    """`text` without case, punctuation, fillers and spelling variants, as it is compared."""
    return _normalizer()(text)


@functools.cache
def _normalizer() -> Callable[[str], str]:
    from whisper_normalizer.english import EnglishTextNormalizer

    return EnglishTextNormalizer()


def is_loop(reference: str, hypothesis: str) -> bool:
    """Whether the normalized hypothesis has more than 1.5 times the words of the normalized reference.

    For references below 6 words it must also have more than 3 words beyond them.
    """
    wanted, found = len(normalize(reference).split()), len(normalize(hypothesis).split())
    return found > LOOP_RATIO * wanted and found - wanted > LOOP_MARGIN


def word_errors(pairs: Iterable[tuple[str, str]]) -> WordErrors:
    """Errors of all pairs (reference, hypothesis) together."""
    pairs = list(pairs)
    if not pairs:
        return WordErrors(0, 0, 0, 0, 0, None, 0)
    import jiwer

    references, hypotheses = ([normalize(text) for text in side] for side in zip(*pairs, strict=True))
    found = jiwer.process_words(references, hypotheses)
    characters = sum(len(text) for text in references)
    return WordErrors(
        clips=len(pairs),
        words=sum(len(text.split()) for text in references),
        substitutions=found.substitutions,
        deletions=found.deletions,
        insertions=found.insertions,
        cer=jiwer.process_characters(references, hypotheses).cer if characters else None,
        loops=sum(is_loop(*pair) for pair in pairs),
    )
