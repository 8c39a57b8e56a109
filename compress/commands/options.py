"""Options that several verbs have in common, and the dataclass that a verb with many options gets them in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from compress.paths import RECIPES
from compress.recipe.recipe import Recipe, read_recipe

Decorator = Callable[[Callable[..., None]], Callable[..., None]]
T = TypeVar("T")

corpus = click.option(
    "--corpus", type=click.Path(path_type=Path), help="Folder of <name>.jsonl manifests for distillation."
)
needed_corpus = click.option(
    "--corpus", type=click.Path(path_type=Path), required=True, help="Folder of <name>.jsonl manifests."
)
noise = click.option(
    "--noise", type=click.Path(path_type=Path), help="Folder of background recordings for augmentation."
)
teacher = click.option(
    "--teacher",
    help="tiny.en, moonshine-base, a folder of CTranslate2, Hugging Face or ONNX Runtime, an OpenAI .pt, or a bundle's "
    "base; overrides the recipe.",
)
full_context = functools.partial(
    click.option,
    "--full-context/--short-context",
    help="Pad clips as teachers are given them (Whisper's to 30 s), or not.",
)


def recipe(name: str, text: str) -> Decorator:
    """The option --recipe, by default the shipped recipe of that name; `text`: what the verb takes from it."""
    return click.option(
        "--recipe",
        type=click.Path(path_type=Path),
        default=RECIPES / f"{name}.toml",
        show_default=name,
        help=f"TOML file: {text}.",
    )


def work(folder: str, text: str) -> Decorator:
    """The option --work."""
    return click.option(
        "--work", type=click.Path(path_type=Path), default=Path(folder), show_default=True, help=f"Folder {text}."
    )


def threads(default: int) -> Decorator:
    """The option --threads."""
    return click.option(
        "--threads", type=click.IntRange(1, 64), default=default, show_default=True, help="Threads of the recognizer."
    )


def table_files(name: str) -> Decorator:
    """The options --card and --readme: files with a place for the table, between markers of that name."""
    file = click.Path(dir_okay=False, path_type=Path)
    card = click.option(
        "--card", type=file, help=f"File that gets the table too, between <!-- {name} --> and <!-- /{name} -->."
    )
    readme = click.option("--readme", type=file, help="Another such file.")
    return lambda command: card(readme(command))


def takes(kind: Callable[..., T]) -> Callable[[Callable[[T], None]], Callable[..., None]]:
    """Hands a verb's options over as one dataclass, whose fields have the options' names."""

    def wrap(run: Callable[[T], None]) -> Callable[..., None]:
        @functools.wraps(run)
        def command(**values: Any) -> None:
            run(kind(**values))

        return command

    return wrap


def recipe_of(path: Path, teacher: str | None) -> Recipe:
    """The recipe of a file; with a `teacher` it begins with that one and nothing else.

    Raises:
        UsageError: see `read_recipe`.
    """
    found = read_recipe(path)
    return replace(found, teacher=teacher, start=None) if teacher else found
