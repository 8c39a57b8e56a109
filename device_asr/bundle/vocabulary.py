"""Token ids to text: byte-level tokens, safe while a character is incomplete."""

from __future__ import annotations

import base64
import binascii
import gzip
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from device_asr.errors import BundleError


@dataclass(frozen=True)
class Vocabulary:
    """The tokens a model writes with.

    tokens: the bytes of each text token, by id; ids from len(tokens) on are never text.
    special: ids of `end`, `start`, `no_speech`, `no_timestamps`.
    suppress: ids that dictation never writes (brackets, music notes...); from Whisper's configuration.
    suppress_first: ids that may not be the first token of an utterance.
    """

    tokens: tuple[bytes, ...]
    special: Mapping[str, int]
    suppress: tuple[int, ...] = ()
    suppress_first: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Number of ids, special ones included."""
        return max(len(self.tokens), max(self.special.values(), default=-1) + 1)

    @property
    def prompt(self) -> tuple[int, ...]:
        """The ids every utterance starts with."""
        return self.special["start"], self.special["no_timestamps"]

    @property
    def end(self) -> int:
        """The id that ends an utterance."""
        return self.special["end"]

    def bytes_of(self, ids: Iterable[int]) -> bytes:
        """The UTF-8 bytes of `ids`; ids that are not text add nothing."""
        return b"".join(self.tokens[i] for i in ids if i < len(self.tokens))

    def decode(self, ids: Iterable[int]) -> str:
        """Text of `ids`; an incomplete character at the end is left out, a broken one becomes U+FFFD."""
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
        """Positions in `ids` grouped into words: a token that starts with a space starts a word."""
        groups: list[list[int]] = []
        for position, token in enumerate(ids):
            if token >= len(self.tokens):
                continue
            if not groups or self.tokens[token].startswith(b" "):
                groups.append([])
            groups[-1].append(position)
        return groups


def write_tokens(path: Path, tokens: Sequence[bytes]) -> None:
    """Writes one base64 token a line, in the order of ids; packed where the name ends in .gz."""
    data = b"\n".join(base64.b64encode(token) for token in tokens) + b"\n"
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def read_tokens(path: Path) -> tuple[bytes, ...]:
    """The inverse of `write_tokens`.

    Raises:
        BundleError: the file is missing or damaged, or a line is not base64.
    """
    try:
        data = path.read_bytes()
        lines = (gzip.decompress(data) if path.suffix == ".gz" else data).split()
        return tuple(base64.b64decode(line, validate=True) for line in lines)
    except (OSError, EOFError, zlib.error, binascii.Error) as error:
        raise BundleError(f"The vocabulary {path} cannot be read: {error}; build or copy the bundle again.") from None
