"""Whisper's tokens: pieces and special ids from a tokenizer.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.networks.checkpoint import (
    CheckpointError,
)
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
    """Pieces and special ids from a tokenizer.json; suppressed ids from the model's configuration.

    Raises:
        CheckpointError: no tokenizer.json, or a special token is missing from it.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise CheckpointError(f"{folder}: wanted tokenizer.json, found none; copy it beside the weights.")
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    ids: dict[str, int] = dict(tokenizer["model"]["vocab"])
    added = {entry["content"]: entry["id"] for entry in tokenizer["added_tokens"]}
    special = {}
    for name, text in SPECIAL_TOKENS.items():
        found = added.get(text, added.get(OLD_SPECIAL_TOKENS.get(name, "")))
        if found is None:
            raise CheckpointError(f"{path}: wanted the token {text}, found none; is it a Whisper tokenizer?")
        special[name] = found
    alphabet = _byte_alphabet()
    text_ids = {i: piece for piece, i in ids.items() if i < min(added.values())}
    pieces = tuple(bytes(alphabet[c] for c in text_ids[i]) for i in range(len(text_ids)))
    specials = set(special.values())
    return Vocabulary(
        pieces,
        special,
        suppress=tuple(i for i in config.get("suppress_ids", ()) if i < len(pieces) or i in specials),
        suppress_first=tuple(config.get("suppress_ids_begin", ())),
    )
