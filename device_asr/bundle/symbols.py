"""The symbols that a CTC head emits: lower-case letters, digits, the apostrophe and the space."""

from __future__ import annotations

import unicodedata

SYMBOLS = " 'abcdefghijklmnopqrstuvwxyz0123456789"
BLANK = 0
_IDS = {symbol: i for i, symbol in enumerate(SYMBOLS, 1)}


def spoken(text: str) -> str:
    """`text` in the letters of `SYMBOLS`: lower case, accents dropped, other signs as spaces."""
    plain = unicodedata.normalize("NFKD", text.lower().replace("’", "'"))
    kept = "".join(c if c in _IDS else "" if unicodedata.combining(c) else " " for c in plain)
    return " ".join(kept.split())


def spell(text: str) -> list[int]:
    """Symbol ids of `text` as it is spoken."""
    return [_IDS[symbol] for symbol in spoken(text)]
