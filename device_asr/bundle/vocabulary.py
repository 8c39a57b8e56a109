"""Vocabulary: token ids to text, also while a character is incomplete."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from device_asr.bounded import read_bytes, read_gzip
from device_asr.errors import BundleError
from device_asr.printable import has_control_byte

SENTENCEPIECE_SPACE = "\u2581"
MOST_TOKENS = 1_000_000  # Whisper has 50 thousand, and the largest vocabularies of text 260 thousand
MOST_BYTES = 32_000_000  # of the file, unpacked; en-tiny has 0.4 million
_BYTE = re.compile(rb"<0x([0-9A-Fa-f]{2})>")


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that a model reads and writes.

    tokens: the bytes of each text token, by id; ids from len(tokens) on are never text.
    prompt: the ids that every utterance begins with.
    end: the id that ends an utterance.
    no_speech: the id whose probability behind the prompt's first token says that nobody speaks; None: there is none.
    suppress: ids that dictation never writes (brackets, music notes...).
    suppress_first: ids that may not be the first token of an utterance.
    word_start: how the text of a token begins that starts a word.
    """

    tokens: tuple[bytes, ...]
    prompt: tuple[int, ...]
    end: int
    no_speech: int | None = None
    suppress: tuple[int, ...] = ()
    suppress_first: tuple[int, ...] = ()
    word_start: str = " "

    @property
    def special(self) -> tuple[int, ...]:
        """The ids of the prompt, the end and no speech, in ascending order."""
        return tuple(sorted({*self.prompt, self.end, *(() if self.no_speech is None else (self.no_speech,))}))

    @cached_property
    def unwritten(self) -> tuple[int, ...]:
        """The ids that no text has, in ascending order: `suppress`, and tokens with an ASCII control character.

        Dictation is one line of words; a terminal or a shell acts on the others.
        """
        control = (i for i, token in enumerate(self.tokens) if has_control_byte(token))
        return tuple(sorted({*self.suppress, *control} - {self.end}))

    @property
    def size(self) -> int:
        """Number of ids, special ones included."""
        return max(len(self.tokens), self.special[-1] + 1)

    def bytes_of(self, ids: Iterable[int]) -> bytes:
        """The bytes of `ids`; ids that are not text add none."""
        return b"".join(self.tokens[i] for i in ids if i < len(self.tokens))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; an incomplete character at the end is left out, a broken one becomes U+FFFD."""
        data = self.bytes_of(ids)
        for cut in range(min(4, len(data) + 1)):
            head = data[: len(data) - cut]
            try:
                return head.decode("utf-8")
            except UnicodeDecodeError as error:
                if error.reason != "unexpected end of data":
                    break
        return data.decode("utf-8", errors="replace")

    def words(self, ids: Sequence[int]) -> list[list[int]]:
        """Groups positions in `ids` into words; a token that begins with `word_start` starts a word."""
        start = self.word_start.encode()
        groups: list[list[int]] = []
        for position, token in enumerate(ids):
            if token >= len(self.tokens):
                continue
            if not groups or self.tokens[token].startswith(start):
                groups.append([])
            groups[-1].append(position)
        return groups


def plain_tokens(pieces: Iterable[bytes]) -> tuple[bytes, ...]:
    """The bytes that SentencePiece's pieces write: U+2581 is a space, and <0x0A> the byte 10."""
    space = SENTENCEPIECE_SPACE.encode()
    return tuple(
        bytes([int(byte[1], 16)]) if (byte := _BYTE.fullmatch(piece)) else piece.replace(space, b" ")
        for piece in pieces
    )


def write_tokens(path: Path, tokens: Sequence[bytes]) -> None:
    """Writes one base64 token a line, in the order of ids; gzip-compressed if the name ends in .gz."""
    data = b"\n".join(base64.b64encode(token) for token in tokens) + b"\n"
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def read_tokens(path: Path) -> tuple[bytes, ...]:
    """Reads a file of `write_tokens`.

    Raises:
        BundleError: the file is missing, damaged or too large, or a line is not base64.
    """
    try:
        data = (read_gzip if path.suffix == ".gz" else read_bytes)(path, MOST_BYTES)
        if data.count(b"\n") > MOST_TOKENS:
            raise ValueError(f"it has more than {MOST_TOKENS} tokens")
        return tuple(base64.b64decode(line, validate=True) for line in data.removesuffix(b"\n").split(b"\n"))
    except (OSError, ValueError) as error:  # binascii.Error is a ValueError
        raise BundleError(f"The vocabulary {path} cannot be read: {error}; build or copy the bundle again.") from None
