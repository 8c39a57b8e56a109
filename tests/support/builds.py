"""Builds of a tiny teacher through the command: its recipe, its arguments, and what a failure may leave."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

TRAINING = {"do": "distill", "epochs": 1, "batch": 2, "cut": 0.0}
Run = Callable[..., tuple[int, str]]  # arguments of the command -> its exit code and what it said


def recipe(place: Path, *stages: dict[str, Any], **values: Any) -> Path:
    """The file of a recipe, its stages as inline tables."""

    def toml(value: Any) -> str:
        if isinstance(value, list):
            return f"[{', '.join(map(toml, value))}]"
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + "}"
        return json.dumps(value)

    values = {"name": "tiny", "teacher": str(place / "teacher"), "corpus": {"train": "all"}, **values}
    path = place / "recipe.toml"
    path.write_text(
        "\n".join(f"{key} = {toml(value)}" for key, value in values.items())
        + f"\nstages = [{', '.join(map(toml, stages))}]\n"
    )
    return path


def build_of(place: Path, path: Path, *more: Any) -> tuple[Any, ...]:
    """The arguments of a build."""
    return (
        "build",
        "--recipe",
        path,
        "--out",
        place / "out",
        "--work",
        place / "work",
        "--corpus",
        place / "corpus",
        *more,
    )


def assert_told(place: Path, told: tuple[int, str], code: int, said: str) -> None:
    """One sentence and an exit code; no bundle, and no stage that seems whole."""
    assert told[0] == code, told
    assert said in told[1] and "\n" not in told[1] and "Traceback" not in told[1], told[1]
    assert not (place / "out").exists()
    assert not list((place / "work").glob("*/checkpoint.json")) if (place / "work").exists() else True
