"""Forms of parsed JSON, and where a value differs from its form."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from device_asr.printable import has_control, short

DTYPES = {"int8": 1, "uint8": 1, "int16": 2, "int32": 4, "int64": 8, "float16": 2, "float32": 4}  # bytes an element
LARGEST = 1_000_000  # positions, cache slots, ids: more is damage, and would ask for gigabytes
COUNT, SIZE = "a whole number of 0 or more", f"a whole number of 1 to {LARGEST}"
ID, EXTENT = f"a whole number of 0 to {LARGEST}", f"a whole number of 0 to {LARGEST} or a named length"
NO_ID = f"{ID} or null"
START = f"a number of -{LARGEST} to {LARGEST}, or a list of such numbers"
RATE = f"a number of 0 to {LARGEST}"
TEXT, DTYPE, FILE = "a text", "one of " + ", ".join(DTYPES), "the name of a file in the bundle"
NAME = "a name of 1 to 100 characters, none of them a control character"


def mismatches(value: Any, wanted: Any, where: str, files: Collection[str]) -> Iterator[str]:
    """Yields a sentence for every place where `value` is not of the form `wanted`.

    Args:
        wanted: one of the forms above; a list holds values of one form; in a table "*" is any key, a key with "?" may
            be left out, and other keys are free.
        where: the place of `value`. files: names that have the form `FILE`.
    """
    if isinstance(wanted, str):
        if not _fits(value, wanted, files):
            yield f"wanted {wanted} at {where}, found {short(value)}"
        return
    kind = type(wanted)
    if not isinstance(value, kind):
        yield f"wanted a {'table' if kind is dict else 'list'}{f' at {where}' if where else ''}, found {short(value)}"
        return
    if kind is list:
        for index, item in enumerate(value):
            yield from mismatches(item, wanted[0], f"{where}[{index}]", files)
        return
    prefix = f"{where}." if where else ""
    for key, form in wanted.items():
        name = key.removesuffix("?")
        if key == "*":
            for own, item in value.items():
                yield from mismatches(item, form, prefix + own, files)
        elif name in value:
            yield from mismatches(value[name], form, prefix + name, files)
        elif name == key:
            yield f"the manifest lacks {prefix}{key}"


def _fits(value: Any, wanted: str, files: Collection[str]) -> bool:
    if wanted in (SIZE, ID, COUNT):
        return _whole(value) and (wanted == SIZE) <= value <= (float("inf") if wanted == COUNT else LARGEST)
    if wanted == RATE:
        return _small(value) and value >= 0
    if wanted == EXTENT:
        return isinstance(value, str) or _fits(value, ID, files)
    if wanted == NO_ID:
        return value is None or _fits(value, ID, files)
    if wanted == START:
        return all(map(_small, value)) if isinstance(value, list) else _small(value)
    if not isinstance(value, str):
        return False
    if wanted == DTYPE:
        return value in DTYPES
    if wanted == NAME:
        return 1 <= len(value) <= 100 and not has_control(value)
    return wanted == TEXT or value in files


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _small(value: Any) -> bool:
    return (_whole(value) or isinstance(value, float)) and -LARGEST <= value <= LARGEST
