"""The symbols that a CTC head emits: lower-case letters, digits, the apostrophe and the space."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

SYMBOLS = " 'abcdefghijklmnopqrstuvwxyz0123456789"  # their ids begin at 1, in this order
BLANK = 0
_IDS = {symbol: i for i, symbol in enumerate(SYMBOLS, 1)}


def spoken(text: str) -> str:
    """Writes `text` with the characters of `SYMBOLS`: lower case, accents dropped, other characters as spaces."""
    plain = unicodedata.normalize("NFKD", text.lower().replace("’", "'"))
    kept = "".join(c if c in _IDS else "" if unicodedata.combining(c) else " " for c in plain)
    return " ".join(kept.split())


def spell(text: str) -> list[int]:
    """The symbol ids of `text` as it is spoken."""
    return [_IDS[symbol] for symbol in spoken(text)]


def collapse(best: Sequence[int], last: int = BLANK) -> list[tuple[int, str]]:
    """The symbols of a CTC path, each with its frame: repeated ids are one symbol, blanks none.

    Args:
        best: the likeliest id of each frame. last: the id of the frame before them.
    """
    path = zip((last, *best), best, strict=False)
    return [(k, SYMBOLS[now - 1]) for k, (before, now) in enumerate(path) if now not in (BLANK, before)]


def path_text(best: Sequence[int]) -> str:
    """The words of a whole CTC path, given the likeliest id of each frame."""
    return " ".join("".join(symbol for _, symbol in collapse(best)).split())
