"""The techniques by the names that recipes give them, and a stage's table read as a technique with its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compress.recipe import alignment, compression, training
from compress.recipe.technique import Technique
from compress.settings import nearest, parse, refuse_renamed
from device_asr.errors import UsageError

TECHNIQUES: Mapping[str, Technique] = {**training.STAGES, **compression.STAGES, **alignment.STAGES}


def settings_of(table: Mapping[str, Any]) -> tuple[Technique, Any]:
    """A recipe's table as a technique and its checked settings.

    Raises:
        UsageError: no such technique (its new name, or the nearest one, is told); see `parse` for its settings.
    """
    values = dict(table)
    name = values.pop("do", None)
    refuse_renamed("stages", [name], "Recipe, a table of [[stages]]")
    if name not in TECHNIQUES:
        raise UsageError(
            f"Recipe, a table of [[stages]]: wanted do = one of {', '.join(TECHNIQUES)}, "
            f"found {name!r}{nearest(name, TECHNIQUES)}"
        )
    technique = TECHNIQUES[name]
    return technique, parse(technique.settings, values, f"Recipe, stage {name}", name)
