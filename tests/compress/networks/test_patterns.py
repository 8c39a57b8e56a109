"""Names and types of settings, as people write them in recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from compress.networks.patterns import choose
from compress.settings import check_types
from device_asr.errors import UsageError

NAMES = [
    "encoder.conv1",
    "encoder.layers.0.ffn.up",
    "encoder.layers.0.ffn.down",
    "encoder.layers.1.ffn.up",
    "decoder.layers.0.ffn.up",
]


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["encoder.conv1"], [0]),
        (["encoder"], [0, 1, 2, 3]),
        (["encoder.layers.0"], [1, 2]),
        (["*"], [0, 1, 2, 3, 4]),
        (["*.up"], [1, 3, 4]),
        (["decoder", "encoder.conv?"], [0, 4]),
        (["*.ffn"], [1, 2, 3, 4]),
        ([], []),
    ],
)
def test_a_name_means_itself_what_lies_under_it_or_what_its_pattern_matches(
    patterns: list[str], found: list[int]
) -> None:
    assert choose(NAMES, patterns, "prune.layers") == [NAMES[k] for k in found]


@pytest.mark.parametrize(
    ("pattern", "nearest"),
    [
        ("encodr", "'encoder'"),
        ("encodr.*", "'encoder.*'"),
        ("encoder.layers.2", "'encoder.layers.1'"),
        ("encoder.layers.0.fnn.up", "'encoder.layers.0.ffn.up'"),
        ("decoder.layer.0.*", "'decoder.layers.0.*'"),
    ],
)
def test_a_name_that_means_nothing_is_told_with_the_nearest(pattern: str, nearest: str) -> None:
    with pytest.raises(UsageError) as told:
        choose(NAMES, ["encoder", pattern], "prune.layers", "layer")
    assert str(told.value) == f"prune.layers: {pattern!r} matches no layer; the nearest is {nearest}."
    with pytest.raises(UsageError, match="the network has none"):
        choose([], [pattern], "prune.layers")


@dataclass
class Inner:
    share: float = 0.0


@dataclass
class Outer:
    count: int = 1
    rate: float = 1.0
    rank: int | None = None
    names: tuple[str, ...] = ()
    bounds: tuple[int, int] = (1, 2)
    scope: Literal["global", "layer"] = "global"
    inner: Inner | None = None
    stages: Sequence[Mapping[str, Any]] = ()
    on: bool = False


@pytest.mark.parametrize(
    "values",
    [
        {"count": 3, "rate": 1, "rank": None, "names": "encoder", "bounds": [1, 2], "scope": "other", "on": True},
        {"rate": 0.5, "rank": 8, "names": ["a", "b"], "inner": {"share": "x"}, "stages": [{"do": 1}]},
        {"inner": Inner(), "stages": ({},), "unknown": object()},
    ],
)
def test_values_of_their_types_pass(values: dict[str, Any]) -> None:
    check_types(Outer, values, "outer")


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("count", 1.5, "a whole number"),
        ("count", True, "a whole number"),
        ("rate", "fast", "a number"),
        ("rate", float("nan"), "a number"),
        ("rate", float("inf"), "a number"),
        ("rank", "a", "a whole number"),
        ("names", 3, "a list, each a text"),
        ("names", ["a", 3], "a list, each a text"),
        ("bounds", 8, "a list, each a whole number"),
        ("scope", 1, "one of global, layer"),
        ("inner", 1, "a table"),
        ("stages", ["x"], "a list, each a table"),
        ("stages", {}, "a list, each a table"),
        ("on", 1, "true or false"),
    ],
)
def test_a_value_of_another_type_is_told(name: str, value: Any, wanted: str) -> None:
    with pytest.raises(UsageError) as told:
        check_types(Outer, {name: value}, "outer")
    assert str(told.value) == f"outer: wanted {name} to be {wanted}, found {value!r}."
