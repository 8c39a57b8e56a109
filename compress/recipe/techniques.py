"""The techniques by the names that recipes give them, and a stage's table read as a technique with its settings."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from compress.recipe import compression, training
from compress.recipe.technique import Technique
from compress.settings import check_types, refuse_renamed
from device_asr.errors import UsageError

TECHNIQUES: Mapping[str, Technique] = {**training.STAGES, **compression.STAGES}


def settings_of(table: Mapping[str, Any]) -> tuple[Technique, Any]:
    """A recipe's table as a technique and its checked settings.

    Raises:
        UsageError: no such technique or setting (its new name, or the nearest name, is told), a setting that is missing
            or cannot be.
    """
    values = dict(table)
    name = values.pop("do", None)
    refuse_renamed("stages", [name], "Recipe, a table of [[stages]]")
    if name not in TECHNIQUES:
        raise UsageError(
            f"Recipe, a table of [[stages]]: wanted do = one of {', '.join(TECHNIQUES)}, "
            f"found {name!r}{_nearest(name, TECHNIQUES)}"
        )
    technique = TECHNIQUES[name]
    where = f"Recipe, stage {name}"
    refuse_renamed(name, values, where)
    known = [f.name for f in fields(technique.settings)]
    for key in values:
        if key not in known:
            raise UsageError(
                f"{where}: wanted settings of {', '.join(known) or 'no name'}, found {key!r}{_nearest(key, known)}"
            )
    check_types(technique.settings, values, where)
    lacking = [
        f.name
        for f in fields(technique.settings)
        if f.default is MISSING and f.default_factory is MISSING and f.name not in values
    ]
    if lacking:
        raise UsageError(
            f"{where}: wanted settings of {', '.join(known)}, found no {' and no '.join(lacking)}, which must be given."
        )
    return technique, technique.settings(**values)


def _nearest(name: Any, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), names, 1)
    return f"; did you mean {near[0]!r}?" if near else "."
