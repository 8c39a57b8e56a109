"""What to build: the recipe, read from TOML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from compress.networks.chunking import Chunking
from compress.quantize.plan import QuantizationPlan
from compress.recipe.techniques import settings_of
from compress.settings import check_corpus, check_types, read_table, refuse_renamed
from device_asr.errors import UsageError

CHANGES = "changes"  # of a recipe's base
PLANS, OWN_PLAN = ("plan", "qat"), "quantize"  # settings of stages that take a plan, and the recipe's own


@dataclass(frozen=True)
class Recipe:
    """What to build; read from TOML, see recipes/en-tiny.toml.

    corpus: manifest -> clips taken of it, or "all". stages: the techniques in their order, each a table
    with its name as `do` and its settings; in one that takes a plan, the text "quantize" stands for the recipe's own.
    quantize: see `QuantizationPlan`. base: what is written beside the bundle to
    begin other recipes with: true, the network in half precision, see `checkpoints.base`; "changes", how it differs
    from the teacher, see `checkpoints.changes`. start: the checkpoint that the stages begin
    with, such as a bundle's base; none: the teacher. stream: how a network with a CTC head encodes in chunks,
    the fields of `Chunking`.
    """

    name: str
    teacher: str
    language: str = "en"
    description: str = ""
    corpus: Mapping[str, int | str] = field(default_factory=dict)
    stages: Sequence[Mapping[str, Any]] = ()
    quantize: Mapping[str, Any] = field(default_factory=dict)
    base: bool | str = False
    start: str | None = None
    stream: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(Recipe, vars(self), "Recipe")
        if not self.name.strip() or set(self.name) & set("/\\\0"):  # folders of bundles are called by it
            raise UsageError(f"Recipe: wanted a name that a folder may have, found {self.name!r}.")
        _ = self.plan
        object.__setattr__(self, "stages", [self._planned(table) for table in self.stages])
        for table in self.stages:
            settings_of(table)
        refuse_renamed("recipe.stream", self.stream, "Recipe, stream")
        check_types(Chunking, self.stream, "Recipe, stream")
        if unknown := sorted(set(self.stream) - {f.name for f in fields(Chunking)}):
            raise UsageError(f"Recipe, stream: wanted size, left_context and look_ahead, found {', '.join(unknown)}.")
        _ = self.chunking
        check_corpus("corpus", self.corpus)
        if self.base not in (True, False, CHANGES):
            raise UsageError(f'Recipe, base: wanted true, false or "{CHANGES}", found {self.base!r}.')

    def _planned(self, table: Mapping[str, Any]) -> Mapping[str, Any]:
        """A stage with the recipe's own plan where it, or a training within it, names that."""
        planned = {**table, **{key: dict(self.quantize) for key in PLANS if table.get(key) == OWN_PLAN}}
        if isinstance(trainings := table.get("trainings"), Sequence):
            planned["trainings"] = [self._planned(one) if isinstance(one, Mapping) else one for one in trainings]
        return planned

    @cached_property
    def plan(self) -> QuantizationPlan:
        """How the network is quantized: the table [quantize], parsed."""
        return QuantizationPlan.from_table(self.quantize)

    @cached_property
    def chunking(self) -> Chunking:
        """The chunks of the method `stream`: the table [stream], parsed."""
        return Chunking(**self.stream)


def read_recipe(path: Path) -> Recipe:
    """A recipe from a TOML file.

    Raises:
        UsageError: unreadable, not TOML, unknown, renamed or missing keys, a stage that is not known.
    """
    values = read_table(path, "Recipe")
    refuse_renamed("recipe", values, f"Recipe {path}")
    try:
        return Recipe(**values)
    except TypeError as error:
        raise UsageError(f"Recipe {path}: wanted the keys of compress/recipes/en-tiny.toml ({error}).") from None
