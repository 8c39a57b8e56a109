"""Word and character error rate at corpus level, with Whisper's English normalizer, and loops.

The normalizer (package `whisper-normalizer`, from openai/whisper) is applied to both sides: case,
punctuation, fillers, spelling variants and numbers do not count. Alignment is jiwer's.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from device_asr.errors import UsageError
from device_asr.metrics.interval import Difference, Interval, rate_difference, rate_interval

LOOP_RATIO = 1.5  # a hypothesis this many times longer than its reference is a loop,
LOOP_MARGIN = 3  # if by more words than this: binds only below 6 words, where "oh no" for "no" is no loop


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Counts over a corpus.

    clips: pairs compared. words: in the normalized references. cer: character error rate.
    loops: clips whose hypothesis `is_loop`. wer, cer are None where the references hold nothing.
    clip_errors, clip_words: errors of each pair, and words of its normalized reference.
    """

    clips: int
    words: int
    substitutions: int
    deletions: int
    insertions: int
    cer: float | None
    loops: int
    clip_errors: tuple[int, ...]
    clip_words: tuple[int, ...]

    @property
    def wer(self) -> float | None:
        """Word error rate: all errors over all words of the references."""
        return (self.substitutions + self.deletions + self.insertions) / self.words if self.words else None

    @property
    def interval(self) -> Interval | None:
        """The 95 % bootstrap interval of `wer` over the clips; None where there are fewer than 2."""
        return rate_interval(self.clip_errors, self.clip_words)

    def difference(self, other: WordErrors) -> Difference | None:
        """`wer` less that of another system on the same clips, with its interval; None where there are no words.

        Raises:
            ValueError: the references differ.
        """
        if self.clip_words != other.clip_words:
            raise ValueError("wanted the same references, found others")
        return rate_difference(self.clip_errors, other.clip_errors, self.clip_words)

    def record(self) -> dict[str, Any]:
        """The counts as JSON values, with `wer` and `wer_interval` ([low, high] or None), without those of clips."""
        left_out = ("clip_errors", "clip_words")
        interval = self.interval
        return {
            **{name: value for name, value in asdict(self).items() if name not in left_out},
            "wer": self.wer,
            "wer_interval": interval and [interval.low, interval.high],
        }


def normalize(text: str) -> str:
    """`text` without case, punctuation, fillers and spelling variants, as it is compared."""
    return _normalizer()(text)


@functools.cache
def _normalizer() -> Callable[[str], str]:
    normalizer: Callable[[str], str] = _package("whisper_normalizer.english").EnglishTextNormalizer()
    return normalizer


def _package(name: str) -> Any:
    """A package that only measuring needs.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            f"Word error rates want the packages of the extra `bench` ({error}); run: pip install 'device-asr[bench]'"
        ) from None


def check_installed() -> None:
    """Checks that word error rates can be computed, which a long measurement wants to know before it begins.

    Raises:
        UsageError: a package is not installed.
    """
    _package("jiwer")
    _normalizer()


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
        return WordErrors(0, 0, 0, 0, 0, None, 0, (), ())
    jiwer = _package("jiwer")
    references, hypotheses = ([normalize(text) for text in side] for side in zip(*pairs, strict=True))
    found = jiwer.process_words(references, hypotheses)
    characters = sum(len(text) for text in references)
    words = [len(text.split()) for text in references]
    return WordErrors(
        clips=len(pairs),
        words=sum(words),
        substitutions=found.substitutions,
        deletions=found.deletions,
        insertions=found.insertions,
        cer=jiwer.process_characters(references, hypotheses).cer if characters else None,
        loops=sum(is_loop(*pair) for pair in pairs),
        clip_errors=tuple(_errors(chunks) for chunks in found.alignments),
        clip_words=tuple(words),
    )


def equal_words(reference: str, hypothesis: str) -> list[bool]:
    """Whether each word of a normalized hypothesis is aligned with an equal one of the normalized reference."""
    count = len(hypothesis.split())
    if not count or not reference.strip():
        return [False] * count
    equal = [False] * count
    for chunk in _package("jiwer").process_words([reference], [hypothesis]).alignments[0]:
        if chunk.type == "equal":
            equal[chunk.hyp_start_idx : chunk.hyp_end_idx] = [True] * (chunk.hyp_end_idx - chunk.hyp_start_idx)
    return equal


def _errors(chunks: Iterable[Any]) -> int:
    """Errors of one pair, given jiwer's alignment chunks: substituted words count once, others on their side."""
    return sum(
        max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
        for chunk in chunks
        if chunk.type != "equal"
    )
