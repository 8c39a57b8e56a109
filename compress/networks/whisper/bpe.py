"""Byte-pair encoding of text into the ids of a vocabulary."""

from __future__ import annotations

from collections.abc import Callable

from device_asr.bundle.vocabulary import Vocabulary

# GPT-2's pattern: contractions, words, numbers and punctuation, each with at most one space before it
SPLIT = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def token_encoder(vocabulary: Vocabulary) -> Callable[[str], list[int]]:
    """Byte-pair encoding of text into ids of `vocabulary`, pruned or not.

    Ids keep the order of the merges, so that the tokens themselves are the merge table.
    """
    import tiktoken

    ranks = {token: rank for rank, token in enumerate(vocabulary.tokens)}
    encoding = tiktoken.Encoding("tokens", pat_str=SPLIT, mergeable_ranks=ranks, special_tokens={})
    return encoding.encode_ordinary
