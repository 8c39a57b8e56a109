"""One setting of a section: its unit, range and sentence; sections validate their own values."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

from device_asr.errors import UsageError
from device_asr.printable import short


def setting(
    default: Any,
    help: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A dataclass field with its unit, inclusive range or choices, and one sentence of help."""
    metadata = {"help": help, "unit": unit, "low": low, "high": high, "choices": choices}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Section:
    """The base of every section: converts and checks its values on construction.

    Raises:
        UsageError: a value has the wrong type, is out of its range, or is none of the choices.
    """

    title: ClassVar[str] = ""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for f in fields(self):
            where = f"{self.title}.{f.name}"
            value = _converted(getattr(self, f.name), hints[f.name], where)
            _check_range(value, f, where)
            object.__setattr__(self, f.name, value)


def _converted(value: Any, hint: Any, where: str) -> Any:
    """`value` as the type `hint`: the environment and flags give texts."""
    if type(None) in get_args(hint):
        if value is None or value == "":
            return None
        hint = next(a for a in get_args(hint) if a is not type(None))
    converted = _CONVERTERS[get_origin(hint) or hint](value, where)
    if any("\0" in text for text in _texts_of(converted)):
        raise UsageError(f"{where}: wanted a text without zero bytes, found {short(value)}.")
    return converted


def _texts_of(value: Any) -> Iterable[str]:
    """The texts of a setting's value: itself, its items, or its keys and values."""
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, tuple) else (value,) if isinstance(value, str) else ()


def _texts(value: Any, where: str) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
        raise UsageError(f"{where}: wanted a list of texts, found {short(value)}.")
    return tuple(value)


def _table(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise UsageError(f"{where}: wanted a table of texts, found {short(value)}.")
    return dict(value)


def _truth(value: Any, where: str) -> bool:
    if isinstance(value, str) and value.lower() in ("1", "true", "yes", "on"):
        return True
    if isinstance(value, str) and value.lower() in ("0", "false", "no", "off"):
        return False
    if not isinstance(value, bool):
        raise UsageError(f"{where}: wanted true or false, found {short(value)}.")
    return value


def _number(value: Any, where: str) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
        return number
    except (TypeError, ValueError, OverflowError):  # a whole number of 400 digits is no float
        raise UsageError(f"{where}: wanted a finite number, found {short(value)}.") from None


def _whole_number(value: Any, where: str) -> int:
    number = _number(value, where)
    if number != int(number):
        raise UsageError(f"{where}: wanted a whole number, found {short(value)}.")
    return int(number)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{where}: wanted a text, found {short(value)}.")
    return value


_CONVERTERS: dict[type, Callable[[Any, str], Any]] = {
    tuple: _texts,
    dict: _table,
    bool: _truth,
    int: _whole_number,
    float: _number,
    str: _text,
}


def _check_range(value: Any, f: Field[Any], where: str) -> None:
    meta = f.metadata
    if value is None or not meta:
        return
    low, high, unit = meta["low"], meta["high"], meta["unit"]
    if (low is not None and value < low) or (high is not None and value > high):
        raise UsageError(f"{where}: wanted {low} to {high} {unit}".rstrip() + f", found {short(value)}.")
    if meta["choices"] and value not in meta["choices"]:
        near = difflib.get_close_matches(str(value), meta["choices"], 1, cutoff=0.0)[0]
        raise UsageError(
            f"{where}: wanted one of {', '.join(meta['choices'])}, found {short(value)}; the nearest is {near!r}."
        )
