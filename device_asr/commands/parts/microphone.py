"""The option that chooses a microphone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from device_asr.commands.parts.options import configured

if TYPE_CHECKING:
    from device_asr.config import Config, LoadedConfig


device_option = click.option(
    "--device",
    multiple=True,
    metavar="NAME",
    help="Index or part of the name of a microphone; again for the next best one.",
)


def with_device(config: Config, device: tuple[str, ...]) -> Config:
    """`config` with the microphones that the option names; as it is where none is named."""
    return replace(config, audio=replace(config.audio, devices=device)) if device else config


def with_microphone(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --device to the options of `configured`; the verb gets `config: config.Config`."""

    @device_option
    @configured
    @functools.wraps(function)
    def wrapped(*args: Any, device: tuple[str, ...], loaded: LoadedConfig, **kwargs: Any) -> Any:
        return function(*args, config=with_device(loaded.config, device), **kwargs)

    return wrapped
