"""The option that chooses a microphone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from device_asr.commands.parts.options import configured

if TYPE_CHECKING:
    from device_asr.config import LoadedConfig


def with_microphone(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --device to the options of `configured`; the verb gets `config: config.Config`."""

    @click.option(
        "--device",
        multiple=True,
        metavar="NAME",
        help="Index or part of the name of a microphone; again for the next best one.",
    )
    @configured
    @functools.wraps(function)
    def wrapped(*args: Any, device: tuple[str, ...], loaded: LoadedConfig, **kwargs: Any) -> Any:
        config = loaded.config
        if device:
            config = replace(config, audio=replace(config.audio, devices=device))
        return function(*args, config=config, **kwargs)

    return wrapped
