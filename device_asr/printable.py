"""The filter of control characters, which every text from outside passes on its way to a terminal or a program.

A terminal acts on them (an escape sequence clears the screen, sets its title, answers on standard input), and a shell
into which text is typed runs a line at a newline. Direction marks make a name look like another one, and lone
surrogates, which stand for bytes of a file name that are not UTF-8, cannot be printed at all.
"""

from __future__ import annotations

import re
from typing import Any

# C0, DEL and C1; line and paragraph separators; marks of direction; surrogates
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTROL_BUT_LINES = re.compile(rf"(?![\n\t]){_CONTROL.pattern}")
_CONTROL_BYTE = re.compile(rb"[\x00-\x1f\x7f]")
LONGEST = 60  # characters of a value in a message


def printable(text: str, *, lines: bool = False) -> str:
    r"""`text` with control characters written as escapes: a name or a message that a person reads.

    Args:
        lines: newlines and tabs stay, as in a table.
    """
    return (_CONTROL_BUT_LINES if lines else _CONTROL).sub(_escape, text)


def spoken_text(text: str) -> str:
    """`text` with a space for each control character: what was dictated is words, and one line."""
    return _CONTROL.sub(" ", text)


def has_control(text: str) -> bool:
    """Whether `text` has a control character."""
    return _CONTROL.search(text) is not None


def has_control_byte(data: bytes) -> bool:
    """Whether bytes of a text, which may be a part of a character, have an ASCII control character."""
    return _CONTROL_BYTE.search(data) is not None


def short(value: Any) -> str:
    """A value for a message, in at most `LONGEST` characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a whole number of thousands of digits; lists within lists
        return f"a {type(value).__name__} that is too large to show"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _escape(found: re.Match[str]) -> str:
    """ASCII controls as in Python, which JSON has escaped before; others as in JSON too, so that it stays JSON."""
    code = ord(found[0])
    return found[0].encode("unicode_escape").decode("ascii") if code < 0x7F else f"\\u{code:04x}"
