"""Settings that came from a file: the type of each value is checked, and the key of results that depend on them."""

from __future__ import annotations

import difflib
import math
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from device_asr.bounded import read_toml
from device_asr.errors import UsageError

Settings = TypeVar("Settings")
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    type(None): "nothing",
    Mapping: "a table",
    Any: "anything",
}


# keys of recipes that have another name now, each after the table that they stood in
RENAMED = {
    "recipe.quantise": "quantize",
    "recipe.stream.left": "left_context",
    "recipe.stream.ahead": "look_ahead",
    "stages.round": "gptq",
    "lowrank.rounds": "steps",
    "distill.streaming.left": "left_context",
    "distill.streaming.ahead": "look_ahead",
    "distill.streaming.steady": "regularize_whole",
}


def read_table(path: Path, what: str) -> dict[str, Any]:
    """The table of a TOML file, within the bounds of `device_asr.bounded`.

    Args:
        what: begins the sentence of an error, as "Recipe".

    Raises:
        UsageError: unreadable, too large, not UTF-8, not TOML.
    """
    try:
        return read_toml(path)
    except (OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{what} {path} cannot be read ({found}); wanted a TOML file.") from None


def refuse_renamed(table: str, names: Iterable[str], where: str) -> None:
    """Raises UsageError, with the new name, where one of the names of a table is an old one."""
    for name in names:
        if (new := RENAMED.get(f"{table}.{name}")) is not None:
            raise UsageError(f"{where}: {name!r} is called {new!r} now; change the name.")


def key(settings: Any) -> dict[str, Any]:
    """All fields of a dataclass of settings as plain values: what a result that is kept on disk depends on."""
    return asdict(settings)


def parse(kind: type[Settings], table: Mapping[str, Any], where: str, renamed: str) -> Settings:
    """A table of a recipe as the dataclass `kind`.

    Args:
        where: begins the sentence of an error. renamed: the table's name in `RENAMED`.

    Raises:
        UsageError: a setting that is unknown (its new name, or the nearest one, is told), missing or cannot be.
    """
    refuse_renamed(renamed, table, where)
    every = fields(kind)  # type: ignore[arg-type]  # a class that is known to be a dataclass has no type
    known = [f.name for f in every]
    for name in table:
        if name not in known:
            raise UsageError(f"{where}: wanted settings of {', '.join(known)}, found {name!r}{nearest(name, known)}")
    check_types(kind, table, where)
    required = [f.name for f in every if f.default is MISSING and f.default_factory is MISSING]
    if lacking := [name for name in required if name not in table]:
        raise UsageError(
            f"{where}: wanted settings of {', '.join(known)}, found no {' and no '.join(lacking)}, which must be given."
        )
    return kind(**table)


def nearest(name: Any, names: Iterable[str]) -> str:
    """The end of a sentence of an error: the nearest of the names, where one is near."""
    near = difflib.get_close_matches(str(name), names, 1)
    return f"; did you mean {near[0]!r}?" if near else "."


def check_types(kind: type, values: Mapping[str, Any], where: str) -> None:
    """Compares values with the types of the fields of the dataclass `kind`; what it does not know it leaves alone.

    Raises:
        UsageError: a value of another type, an infinite number, or one that is none.
    """
    hints = get_type_hints(kind)
    for name, value in values.items():
        if name in hints and not _fits(value, hints[name]):
            raise UsageError(f"{where}: wanted {name} to be {_said(hints[name])}, found {value!r}.")


def check_count(name: str, value: Any) -> None:
    """Raises UsageError where a setting of that name is no whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{name}: wanted a whole number of at least 1, found {value!r}.")


def check_corpus(name: str, counts: Mapping[str, Any]) -> None:
    """Raises UsageError where a table of manifests names no number of clips of one."""
    for manifest, count in counts.items():
        if count != "all" and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
            raise UsageError(f'{name}.{manifest}: wanted a number of clips or "all", found {count!r}.')


def _fits(value: Any, hint: Any) -> bool:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in args)
    if origin is Literal:
        return any(type(value) is type(one) for one in args)  # which one is the settings' own sentence
    if origin is tuple:
        one = isinstance(value, str) and (args[0] is str or get_origin(args[0]) is Literal)  # a text is a list of one
        return one or (isinstance(value, list | tuple) and all(_fits(each, args[0]) for each in value))
    if origin is Sequence:
        return isinstance(value, list | tuple) and all(_fits(each, args[0]) for each in value)
    if origin is Mapping or is_dataclass(hint):
        return isinstance(value, Mapping) or (isinstance(hint, type) and isinstance(value, hint))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return hint is Any or isinstance(value, hint)


def _said(hint: Any) -> str:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_said(one) for one in args if one is not type(None))
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}"
    if origin in (tuple, Sequence):
        return f"a list, each {_said(args[0])}"
    return _WORDS.get(origin or hint, "a table")
