"""Whisper's vocabulary: text tokens and special ids, read from a tokenizer.json and pruned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compress.networks.weights import CheckpointError, read_tokenizer
from device_asr.bundle.vocabulary import Vocabulary

SPECIAL_TOKENS = {
    "end": "<|endoftext|>",
    "start": "<|startoftranscript|>",
    "no_speech": "<|nospeech|>",
    "no_timestamps": "<|notimestamps|>",
}
OLD_SPECIAL_TOKENS = {"no_speech": "<|nocaptions|>"}  # the name in the first tokenizers


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in for each byte -> the byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    alphabet = {chr(byte): byte for byte in printable}
    for index, byte in enumerate(b for b in range(256) if b not in printable):
        alphabet[chr(256 + index)] = byte
    return alphabet


def load_vocabulary(folder: Path, config: Mapping[str, Any]) -> Vocabulary:
    """Text tokens and special ids from a tokenizer.json; suppressed ids from the model's configuration.

    Raises:
        CheckpointError: no tokenizer.json, or a special token is missing from it.
    """
    ids, entries = read_tokenizer(folder)
    added = {entry["content"]: entry["id"] for entry in entries}
    special = {}
    for name, text in SPECIAL_TOKENS.items():
        found = added.get(text, added.get(OLD_SPECIAL_TOKENS.get(name, "")))
        if found is None:
            raise CheckpointError(
                f"{folder}/tokenizer.json: wanted the token {text}, found none; is it a Whisper tokenizer?"
            )
        special[name] = found
    alphabet = _byte_alphabet()
    text_ids = {i: token for token, i in ids.items() if i < min(added.values())}
    tokens = tuple(bytes(alphabet[c] for c in text_ids[i]) for i in range(len(text_ids)))
    specials = set(special.values())
    return whisper_vocabulary(
        tokens,
        special,
        tuple(i for i in config.get("suppress_ids", ()) if i < len(tokens) or i in specials),
        tuple(config.get("suppress_ids_begin", ())),
    )


def whisper_vocabulary(
    tokens: tuple[bytes, ...],
    special: Mapping[str, int],
    suppress: tuple[int, ...] = (),
    suppress_first: tuple[int, ...] = (),
) -> Vocabulary:
    """A vocabulary with the special ids that `SPECIAL_TOKENS` names."""
    prompt = special["start"], special["no_timestamps"]
    return Vocabulary(tokens, prompt, special["end"], special["no_speech"], suppress, suppress_first)


def special_ids(vocabulary: Vocabulary) -> dict[str, int]:
    """The special ids of a vocabulary of `whisper_vocabulary`, in the order of `SPECIAL_TOKENS`.

    Raises:
        CheckpointError: the vocabulary is not Whisper's.
    """
    if len(vocabulary.prompt) != 2 or vocabulary.no_speech is None:
        raise CheckpointError(
            f"Wanted Whisper's vocabulary, with a prompt of 2 ids and an id for no speech, found the prompt "
            f"{list(vocabulary.prompt)} and the id {vocabulary.no_speech}."
        )
    start, no_timestamps = vocabulary.prompt
    return {"end": vocabulary.end, "start": start, "no_speech": vocabulary.no_speech, "no_timestamps": no_timestamps}


def keep_tokens(vocabulary: Vocabulary, kept: Sequence[int]) -> tuple[Vocabulary, list[int]]:
    """The vocabulary with only the kept text tokens, and the old id of each of its rows.

    The special tokens follow the text.
    """
    special = special_ids(vocabulary)
    rows = [*kept, *special.values()]
    new_id = {row: i for i, row in enumerate(rows)}
    pruned = whisper_vocabulary(
        tuple(vocabulary.tokens[i] for i in kept),
        {name: new_id[i] for name, i in special.items()},
        tuple(new_id[i] for i in vocabulary.suppress if i in new_id and i < len(vocabulary.tokens)),
        tuple(new_id[i] for i in vocabulary.suppress_first if i in new_id),
    )
    return pruned, rows
