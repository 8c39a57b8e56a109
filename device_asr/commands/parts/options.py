"""Options that verbs share, and the options of a verb as one object."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from device_asr.errors import UsageError


def as_options(options: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a verb its own options as one `options` object; its fields are named like the options."""
    names = [f.name for f in fields(options)]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            own = options(**{name: kwargs.pop(name) for name in names})
            return function(*args, options=own, **kwargs)

        return wrapped

    return decorate


def read_settings(option: str, settings: Iterable[str]) -> dict[str, str]:
    """The texts SECTION.NAME=VALUE of an option, as values by `section.name`.

    Raises:
        UsageError: one has no equals sign.
    """
    found = {}
    for setting in settings:
        key, sign, value = setting.partition("=")
        if not sign:
            raise UsageError(f"{option}: wanted SECTION.NAME=VALUE, found {setting!r}.")
        found[key.strip()] = value.strip()
    return found


def configured(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --config, --model, --threads, --hotwords and --set; the verb gets `loaded: config.LoadedConfig`."""

    @click.option(
        "--config", "config_file", metavar="FILE", is_eager=True, help="Config file instead of the usual one."
    )
    @click.option("--model", metavar="NAME", help="Model by name or folder.")
    @click.option("--threads", type=int, help="Threads of the model's computation.")
    @click.option("--hotwords", metavar="FILE", help="Custom words to favor, one word or phrase a line.")
    @click.option("--set", "settings", multiple=True, metavar="SECTION.NAME=VALUE", help="Any setting; repeatable.")
    @functools.wraps(function)
    def wrapped(
        *args: Any,
        config_file: str | None,
        model: str | None,
        threads: int | None,
        hotwords: str | None,
        settings: tuple[str, ...],
        **kwargs: Any,
    ) -> Any:
        from device_asr import config

        flags: dict[str, Any] = {**read_settings("--set", settings)}
        if model is not None:
            flags["model.name"] = model
        if threads is not None:
            flags["model.threads"] = threads
        if hotwords is not None:
            flags["decoding.hotwords"] = hotwords
        loaded = config.load(Path(config_file) if config_file else None, flags=flags)
        return function(*args, loaded=loaded, **kwargs)

    return wrapped
