"""Byte-pair encoding of text into the ids of a vocabulary."""

from __future__ import annotations

from collections.abc import Callable

from device_asr.bundle.vocabulary import Vocabulary

# GPT-2's pattern: contractions, words, numbers and signs, each with at most one space before it
SPLIT = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def encoder(vocabulary: Vocabulary) -> Callable[[str], list[int]]:
    """Byte-pair encoding of text into ids of `vocabulary`, pruned or not.

    Ids keep the order of the merges, so that the pieces themselves are the merge table.
    """
    import tiktoken

    ranks = {piece: rank for rank, piece in enumerate(vocabulary.tokens)}
    encoding = tiktoken.Encoding("pieces", pat_str=SPLIT, mergeable_ranks=ranks, special_tokens={})
    return encoding.encode_ordinary
