"""Files from outside are read within bounds: sizes, numbers and nesting are checked before they are believed.

Everything raises OSError or ValueError, whose text completes a sentence such as "the file cannot be read (...)".
"""

from __future__ import annotations

import gzip
import json
import math
import os
import stat
import tomllib
import zlib
from pathlib import Path
from typing import IO, Any, BinaryIO

MOST_TEXT = 4_000_000  # bytes of a file that a person writes or a manifest; en-tiny's manifest has 18 kB
MOST_DEPTH = 64  # tables and lists within one another; the manifest has 8
MOST_NUMBER = 2**63  # whole numbers beyond are no size, count or id
PIECE = 1 << 20  # bytes that are read at once
NONBLOCK = getattr(os, "O_NONBLOCK", 0)


def read_bytes(path: Path, most: int = MOST_TEXT) -> bytes:
    """The bytes of a file that has at most `most` of them; never more are read.

    Raises:
        OSError: it cannot be read. ValueError: it is larger, or its name has a zero byte.
    """
    with opened(path) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            most = min(most, MOST_TEXT)  # a device never ends
        return _bounded(_read(file, most + 1), most)


def _read(file: IO[bytes] | gzip.GzipFile, most: int) -> bytes:
    """At most so many bytes, in pieces: a single `read` would take memory for all of them at once."""
    found = bytearray()
    while len(found) < most and (piece := file.read(min(PIECE, most - len(found)))):
        found += piece
    return bytes(found)


def opened(path: Path) -> BinaryIO:
    """Opens a file to read it; a pipe that nobody writes is empty, while opening it as usual would wait for a writer.

    Raises:
        OSError: it cannot be opened. ValueError: its name has a zero byte.
    """
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | NONBLOCK))  # noqa: SIM115
    if NONBLOCK:
        os.set_blocking(file.fileno(), True)  # who writes it may take their time
    return file


def read_text(path: Path, most: int = MOST_TEXT) -> str:
    """The text of a UTF-8 file with at most `most` bytes; lines end as in text mode.

    Raises:
        OSError: it cannot be read. ValueError: it is larger, not UTF-8, or its name has a zero byte.
    """
    return read_bytes(path, most).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def read_gzip(path: Path, most: int) -> bytes:
    """The bytes that a gzip file stands for, at most `most` of them; a bomb is left unread behind that.

    Raises:
        OSError: it cannot be read, or is not gzip. ValueError: it stands for more bytes, or is damaged.
    """
    try:
        with opened(path) as packed, gzip.open(packed) as file:
            return _bounded(_read(file, most + 1), most)
    except (EOFError, zlib.error) as error:
        raise ValueError(str(error)) from None


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is not JSON, nests deeper than `MOST_DEPTH`, or has a number that is infinite, none or huge.
    """
    try:
        return _plausible(json.loads(text))
    except RecursionError:
        raise ValueError(_too_deep()) from None


def parse_toml(text: str) -> dict[str, Any]:
    """The table of a TOML text.

    Raises:
        ValueError: as `parse_json`.
    """
    try:
        table: dict[str, Any] = _plausible(tomllib.loads(text))
    except RecursionError:
        raise ValueError(_too_deep()) from None
    return table


def read_toml(path: Path) -> dict[str, Any]:
    """The table of a TOML file; see `read_text` and `parse_toml` for the errors."""
    return parse_toml(read_text(path))


def _bounded(data: bytes, most: int) -> bytes:
    if len(data) > most:
        raise ValueError(f"it has more than {most} bytes")
    return data


def _too_deep() -> str:
    return f"it nests deeper than {MOST_DEPTH} tables and lists"


def _plausible(value: Any) -> Any:
    """`value`, whose numbers and depth are within bounds."""
    waiting = [(value, 0)]
    while waiting:
        one, depth = waiting.pop()
        if depth > MOST_DEPTH:
            raise ValueError(_too_deep())
        if isinstance(one, dict | list):
            waiting += [(item, depth + 1) for item in (one.values() if isinstance(one, dict) else one)]
        elif isinstance(one, float) and not math.isfinite(one):
            raise ValueError(f"wanted finite numbers, found {one}")
        elif isinstance(one, int) and abs(one) > MOST_NUMBER:
            raise ValueError(f"wanted whole numbers of 64 bits, found one of {one.bit_length()} bits")
    return value
