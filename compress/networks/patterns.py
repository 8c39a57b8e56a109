"""Names of layers and weights as settings give them: whole, what they lie under, or patterns with * and ?."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from fnmatch import fnmatchcase

from device_asr.errors import UsageError


def matches(name: str, pattern: str) -> bool:
    """Whether a name is meant: itself, what lies under it, or a pattern with * and ?."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def choose(names: Iterable[str], patterns: Iterable[str], where: str, what: str = "linear layer") -> list[str]:
    """The names that any of the patterns means, in the order of the names.

    Args:
        where: the setting, what: the things that have names; for the sentence of an error.

    Raises:
        UsageError: a pattern means none of them; the nearest name is told.
    """
    names, chosen = list(names), set()
    for pattern in patterns:
        found = [name for name in names if matches(name, pattern)]
        if not found:
            raise UsageError(f"{where}: {pattern!r} matches no {what}; {_nearest(names, pattern)}.")
        chosen.update(found)
    return [name for name in names if name in chosen]


def _nearest(names: Iterable[str], pattern: str) -> str:
    """The nearest of the names and of those they lie under, written as the pattern is."""
    above = {
        ".".join(parts[:depth]): None
        for parts in (name.split(".") for name in names)
        for depth in range(1, len(parts) + 1)
    }
    stem = pattern.removesuffix(".*")
    near = difflib.get_close_matches(stem, above, 1, cutoff=0.0)
    return f"the nearest is {near[0] + pattern[len(stem) :]!r}" if near else "the network has none"
