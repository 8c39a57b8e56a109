"""Moonshine's vocabulary: SentencePiece's byte-pair encoding, its special ids, and pruning it.

Here text tokens come first, the 256 bytes before all others, and special ones after them. Among the text tokens the
order is that of the merges, so that the tokens themselves are the merge table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

from compress.networks.weights import CheckpointError
from device_asr.bundle.vocabulary import Vocabulary, plain_tokens

BYTES = 256
SPECIAL = ("end", "start")
MOST_WORDS = 100_000  # words whose encoding is kept


def moonshine_vocabulary(
    tokens: tuple[bytes, ...],
    special: Mapping[str, int],
    suppress: tuple[int, ...] = (),
    suppress_first: tuple[int, ...] | None = None,
) -> Vocabulary:
    """A vocabulary with the special ids that `SPECIAL` names.

    Args:
        suppress_first: None: the end. At P(end) of 0.5 to 0.9 Moonshine leaves 17 of 149 clear clips of one set
            without a word; whether there is speech at all is for voice activity detection to say.
    """
    first = (special["end"],) if suppress_first is None else suppress_first
    return Vocabulary(tokens, (special["start"],), special["end"], None, suppress, first)


def ordered(pieces: Mapping[int, bytes], special: Mapping[str, int]) -> tuple[Vocabulary, list[int]]:
    """The vocabulary of SentencePiece's text pieces by their ids in a checkpoint, and the old id of each of its rows.

    Raises:
        CheckpointError: the first pieces are not the 256 bytes.
    """
    kept = sorted(set(pieces) - set(special.values()))
    tokens = plain_tokens(pieces[i] for i in kept)
    if tokens[:BYTES] != tuple(bytes([byte]) for byte in range(BYTES)):
        raise CheckpointError("Wanted a vocabulary whose first text pieces are the 256 bytes, found others.")
    rows = [*kept, *(special[name] for name in SPECIAL)]
    ids = {name: len(tokens) + i for i, name in enumerate(SPECIAL)}
    return moonshine_vocabulary(tokens, ids), rows


def special_ids(vocabulary: Vocabulary) -> dict[str, int]:
    """The special ids of a vocabulary of `moonshine_vocabulary`, in the order of `SPECIAL`.

    Raises:
        CheckpointError: the vocabulary is not Moonshine's.
    """
    if len(vocabulary.prompt) != 1 or vocabulary.no_speech is not None:
        raise CheckpointError(
            f"Wanted Moonshine's vocabulary, with a prompt of 1 id and none for no speech, found the prompt "
            f"{list(vocabulary.prompt)} and the id {vocabulary.no_speech}."
        )
    return {"end": vocabulary.end, "start": vocabulary.prompt[0]}


def keep_tokens(vocabulary: Vocabulary, kept: Sequence[int]) -> tuple[Vocabulary, list[int]]:
    """The vocabulary with only the kept text tokens, and the old id of each of its rows.

    The special tokens follow the text.
    """
    special = special_ids(vocabulary)
    rows = [*kept, *special.values()]
    new_id = {row: i for i, row in enumerate(rows)}
    pruned = moonshine_vocabulary(
        tuple(vocabulary.tokens[i] for i in kept),
        {name: new_id[i] for name, i in special.items()},
        tuple(new_id[i] for i in vocabulary.suppress if i in new_id),
        tuple(new_id[i] for i in vocabulary.suppress_first if i in new_id),
    )
    return pruned, rows


def token_encoder(vocabulary: Vocabulary) -> Callable[[str], list[int]]:
    """Byte-pair encoding of text into ids of `vocabulary`, pruned or not.

    Of the adjacent pairs that are a token the one with the lowest id is merged first, as long as there is one.
    A character that is no token is its bytes.
    """
    ids = {token: i for i, token in enumerate(vocabulary.tokens)}  # of a byte that is a piece too: the piece
    none = len(vocabulary.tokens)  # more than any id, where `len(ids)` is not

    def start(character: str) -> list[bytes]:
        data = character.encode()
        return [data] if data in ids else [bytes([byte]) for byte in data]

    @lru_cache(MOST_WORDS)
    def word_ids(word: str) -> tuple[int, ...]:
        parts = [part for character in word for part in start(character)]
        while len(parts) > 1:
            merged = [(ids.get(a + b, none), at) for at, (a, b) in enumerate(pairwise(parts))]
            best, at = min(merged)
            if best == none:
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return tuple(ids[part] for part in parts)

    def encode(text: str) -> list[int]:
        return [i for word in _words(text) for i in word_ids(word)]

    return encode


def _words(text: str) -> list[str]:
    """The text in words, each with the spaces before it: no token has a space behind another character."""
    words: list[str] = []
    for character in text:
        if not words or (character == " " and words[-1].strip(" ")):
            words.append("")
        words[-1] += character
    return words
