"""Vocabulary pruning: the tokens English dictation needs, ids remapped, the tied embedding cut.

Of tiny.en's 37.8 M weights 19.9 M are the token embedding, so size is a vocabulary problem first.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache

import torch

from compress.networks.checkpoint import Checkpoint
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.errors import UsageError

# Chosen by the words of 3 h of training speech that lose a token when 36 000 are kept: 0.6 %; 0.9 % with 60 000
# words, 0.15 and 0.9
COMMON_WORDS = 400_000  # at most, of wordfreq's English list
CAPITALIZED = 0.05  # share of an ordinary word's occurrences with a capital
CAPITALIZED_NAME = 0.5  # the same for words whose capitalized token was merged before the other
AFTER_SPACE = 0.97  # share of words that follow a space
NUMBERS = tuple(str(n) for n in (*range(100), *range(1900, 2031)))
PUNCTUATION = (",", ".", "?", "!", "'", "-", ":", ";", '"', "%", "$", " $", "...", " -", ' "', '."', ',"', '?"')


@dataclass(frozen=True)
class VocabularyReport:
    """What pruning removed: token counts and weights before and after."""

    tokens_before: int
    tokens_after: int
    parameters_before: int
    parameters_after: int


def select(
    vocabulary: Vocabulary,
    size: int,
    encode: Callable[[str], list[int]],
    texts: Iterable[str] = (),
    characters: bool = False,
) -> list[int]:
    """Ids of the `size` text tokens to keep, in order: those of one byte, then by frequency, closed under merges.

    Frequencies come from wordfreq's English list (words as they are and capitalized, after a space or
    not), from numbers and punctuation, and from `texts`.

    Args:
        encode: byte-pair encoding into ids of `vocabulary`. characters: see `Family.merges_characters`.

    Raises:
        UsageError: `size` is below the tokens of one byte or above the vocabulary.
    """
    total = len(vocabulary.tokens)
    kept = {i for i, token in enumerate(vocabulary.tokens) if len(token) == 1}
    if not len(kept) <= size <= total:
        raise UsageError(f"Vocabulary size: wanted {len(kept)} to {total} tokens, found {size}.")
    weights = _frequencies(vocabulary, encode, texts)
    parents = _merge_parents(vocabulary, characters)
    by_frequency = sorted(weights, key=lambda token: (-weights[token], token))
    for token in (*by_frequency, *range(total)):  # of those that no word has, the ones that were merged first
        needed: set[int] = set()
        stack = [token]
        while stack:
            one = stack.pop()
            if one not in kept and one not in needed:
                needed.add(one)
                stack.extend(parents(one))
        if len(kept) + len(needed) <= size:
            kept |= needed
        if len(kept) == size:
            break
    return sorted(kept)


def _frequencies(vocabulary: Vocabulary, encode: Callable[[str], list[int]], texts: Iterable[str]) -> dict[int, float]:
    import wordfreq

    # wordfreq has no case, but merges were ranked by frequency in cased text: " Thursday" is before " thursday"
    rank, total = {token.decode("utf-8", "replace"): i for i, token in enumerate(vocabulary.tokens)}, vocabulary.size
    weights: defaultdict[int, float] = defaultdict(float)

    def add(text: str, weight: float) -> None:
        for token in encode(text):
            weights[token] += weight

    for word in wordfreq.top_n_list("en", COMMON_WORDS):
        frequency = wordfreq.word_frequency(word, "en")
        name = rank.get(f" {word.capitalize()}", total) < rank.get(f" {word}", total)
        capital = CAPITALIZED_NAME if name else CAPITALIZED
        for form, share in ((word, 1 - capital), (word.capitalize(), capital)):
            add(" " + form, frequency * share * AFTER_SPACE)
            add(form, frequency * share * (1 - AFTER_SPACE))
    for text in (*PUNCTUATION, *NUMBERS, *(" " + n for n in NUMBERS)):
        add(text, 1e-4)
    words = Counter(word for text in texts for word in text.split())
    scale = 1.0 / max(1, sum(words.values()))
    for word, count in words.items():
        add(" " + word, count * scale)
    return weights


def _merge_parents(vocabulary: Vocabulary, characters: bool) -> Callable[[int], tuple[int, ...]]:
    """For a token, the two tokens whose merge makes it: its encoding by the merges before it.

    Args:
        characters: whether characters that are tokens are merged, wherever they stand among the merges, or bytes.
    """
    rank = {token: i for i, token in enumerate(vocabulary.tokens)}

    def start(token: bytes) -> list[bytes]:
        text = [character.encode() for character in token.decode("utf-8", "ignore")] if characters else []
        if len(text) > 1 and b"".join(text) == token:
            return [part for one in text for part in ([one] if one in rank else [bytes([byte]) for byte in one])]
        return [bytes([byte]) for byte in token]

    @cache
    def parents(token: int) -> tuple[int, ...]:
        parts = start(vocabulary.tokens[token])
        while len(parts) > 2:
            best, at = math.inf, -1
            for k in range(len(parts) - 1):
                found = rank.get(parts[k] + parts[k + 1], math.inf)
                if found < best and found < token:
                    best, at = found, k
            if at < 0:
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return tuple(rank[part] for part in parts) if len(parts) > 1 else ()

    return parents


def prune(checkpoint: Checkpoint, size: int, texts: Iterable[str] = ()) -> tuple[Checkpoint, VocabularyReport]:
    """The checkpoint with `size` text tokens and its special ones; the size of the vocabulary keeps every text token.

    Raises:
        UsageError: see `select`.
    """
    old = checkpoint.vocabulary
    family = checkpoint.family_of()
    every = list(range(len(old.tokens)))
    kept = select(old, size, family.token_encoder(old), texts, family.merges_characters) if size < len(every) else every
    vocabulary, rows = family.keep_tokens(old, kept)
    weights, table = dict(checkpoint.weights), f"{family.embedding}.weight"
    weights[table] = weights[table][torch.tensor(rows)].clone()
    note = f"vocabulary pruned from {old.size} to {vocabulary.size} tokens"
    pruned = replace(
        checkpoint,
        dims=replace(checkpoint.dims, vocab=vocabulary.size),
        weights=weights,
        vocabulary=vocabulary,
        provenance=(*checkpoint.provenance, note),
    )
    return pruned, VocabularyReport(old.size, vocabulary.size, checkpoint.parameters, pruned.parameters)
