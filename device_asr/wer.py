"""Word and character error rate at corpus level, with Whisper's English normaliser, and loops.

The normaliser (package `whisper-normalizer`, from openai/whisper) is applied to both sides: case,
punctuation, fillers, spelling variants and numbers do not count. Alignment is jiwer's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LOOP_RATIO = 1.5  # a hypothesis this much longer than its reference is a loop,
LOOP_MARGIN = 3  # if by more words than this: binds only below 6 words, where "no" heard as "oh no" is no loop


@dataclass(frozen=True, slots=True)
class Errors:
    """Counts of an alignment, in words or characters; `reference` is the length of the references."""

    reference: int
    substitutions: int
    deletions: int
    insertions: int

    @property
    def rate(self) -> float | None:
        """Errors over the length of the references; None where that is 0."""
        return (self.substitutions + self.deletions + self.insertions) / self.reference if self.reference else None


@dataclass(frozen=True, slots=True)
class Score:
    """Of a corpus: `words.rate` is the WER, `characters.rate` the CER, `loops` the clips that `is_loop`."""

    clips: int
    words: Errors
    characters: Errors
    loops: int


def normalise(text: str) -> str:
    """`text` as it is compared."""
    return _normaliser()(text)


@functools.cache
def _normaliser() -> Callable[[str], str]:
    from whisper_normalizer.english import EnglishTextNormalizer

    return EnglishTextNormalizer()


def is_loop(reference: str, hypothesis: str) -> bool:
    """Whether the normalised hypothesis has more than 1.5 times the words of the normalised reference.

    For references below 6 words it must also have more than 3 words beyond them.
    """
    wanted, found = len(normalise(reference).split()), len(normalise(hypothesis).split())
    return found > LOOP_RATIO * wanted and found - wanted > LOOP_MARGIN


def score(references: Sequence[str], hypotheses: Sequence[str]) -> Score:
    """Errors over all pairs together.

    Raises:
        ValueError: not as many hypotheses as references.
    """
    if len(references) != len(hypotheses):
        raise ValueError(f"wanted {len(references)} hypotheses, one a reference, found {len(hypotheses)}")
    if not references:
        return Score(0, Errors(0, 0, 0, 0), Errors(0, 0, 0, 0), 0)
    import jiwer

    wanted, found = [normalise(text) for text in references], [normalise(text) for text in hypotheses]
    loops = sum(is_loop(*pair) for pair in zip(references, hypotheses, strict=True))
    return Score(len(references), _errors(jiwer.process_words(wanted, found)),
                 _errors(jiwer.process_characters(wanted, found)), loops)


def _errors(output: object) -> Errors:
    hits, substitutions, deletions, insertions = (
        getattr(output, name) for name in ("hits", "substitutions", "deletions", "insertions"))
    return Errors(hits + substitutions + deletions, substitutions, deletions, insertions)
