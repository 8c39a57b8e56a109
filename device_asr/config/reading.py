"""Effective settings: defaults, the config file, the environment, and flags, in this order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from device_asr.bounded import parse_toml, read_text
from device_asr.config.sections import SECTIONS, Config, describe
from device_asr.errors import UsageError
from device_asr.printable import short

APP_NAME = "device_asr"
ENVIRONMENT_PREFIX = "DEVICE_ASR_"  # DEVICE_ASR_ENDPOINT_HANGOVER_MS=500
RENAMED = {  # settings of earlier versions, and what they are called now
    "endpoint.longest_phrase_s": "endpoint.longest_utterance_s",
    "partial.guard_ms": "partial.holdback_ms",
    "partial.first_guard_ms": "partial.first_holdback_ms",
    "final.favour_shown": "final.partial_bias_nats",
}


def config_path() -> Path:
    """The platform's place for the config file (`DEVICE_ASR_CONFIG` overrides it)."""
    override = os.environ.get(ENVIRONMENT_PREFIX + "CONFIG")
    if override:
        return Path(override)
    import platformdirs

    return Path(platformdirs.user_config_dir(APP_NAME)) / "config.toml"


@dataclass(frozen=True)
class LoadedConfig:
    """The effective settings; `origins` tells for each `section.name` where its value came from."""

    config: Config
    origins: dict[str, str]


def load(
    path: Path | None = None, environ: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
) -> LoadedConfig:
    """The effective settings: flags go before the environment, the environment before the file.

    Args:
        path: the config file; None: the usual place, where it may be missing.
        environ: None: the environment of this process.
        flags: values by `section.name`; None as a value: not given.

    Raises:
        UsageError: an unknown key (with the nearest valid name), a former name (with the new one), a wrong
            type, a value out of range, or broken TOML.
    """
    environ = os.environ if environ is None else environ
    known = {setting.key for setting in describe()}
    values: dict[str, Any] = {}
    origins = {key: "default" for key in known}

    explicit = path is not None or ENVIRONMENT_PREFIX + "CONFIG" in environ
    path = path or config_path()
    for key, value in _read_file(path, required=explicit):
        _check_known(key, known, str(path))
        values[key], origins[key] = value, str(path)
    for key in (*known, *RENAMED):
        name = _variable(key)
        if name in environ and key != "interface.keys":
            _check_known(key, known, f"environment {name}")
            values[key], origins[key] = environ[name], f"environment {name}"
    for key, value in (flags or {}).items():
        _check_known(key, known, "flag")
        if value is not None:
            values[key], origins[key] = value, "flag"

    sections: dict[str, Any] = {}
    for section, cls in SECTIONS.items():
        prefix = section + "."
        own = {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
        sections[section] = cls(**own)
    return LoadedConfig(Config(**sections), origins)


def with_settings(config: Config, flags: Mapping[str, Any]) -> Config:
    """`config` with other values, given by `section.name`.

    Raises:
        UsageError: as `load`.
    """
    known = {setting.key for setting in describe()}
    own: dict[str, dict[str, Any]] = {}
    for key, value in flags.items():
        _check_known(key, known, "flag")
        section, _, name = key.partition(".")
        own.setdefault(section, {})[name] = value
    return replace(config, **{section: replace(getattr(config, section), **values) for section, values in own.items()})


def _variable(key: str) -> str:
    """The environment variable of a setting."""
    return ENVIRONMENT_PREFIX + key.replace(".", "_").upper()


def _read_file(path: Path, *, required: bool) -> Iterator[tuple[str, Any]]:
    try:
        text = read_text(path)
    except FileNotFoundError:
        if required:
            raise UsageError(f"Config file {path} does not exist; `device-asr config --init` writes one.") from None
        return
    except (OSError, ValueError) as error:
        raise UsageError(f"Config file {path} cannot be read: {error}.") from None
    try:
        table = parse_toml(text)
    except ValueError as error:
        raise UsageError(f"Config file {path} is not valid TOML: {error}.") from None
    for section, own in table.items():
        if not isinstance(own, dict):
            _check_known(section, set(SECTIONS), str(path))
            raise UsageError(f"{path}: wanted a table [{section}], found {short(own)}.")
        for name, value in own.items():
            yield f"{section}.{name}", value


def _check_known(key: str, known: set[str], where: str) -> None:
    if key in known:
        return
    if key in RENAMED:
        new = RENAMED[key]
        raise UsageError(
            f"{where}: the setting {key!r} is called {new!r} now; change the name (environment: {_variable(new)})."
        )
    import difflib

    near = difflib.get_close_matches(key, sorted(known), 1, cutoff=0.0)
    hint = f"; the nearest valid name is {near[0]!r}" if near else ""
    raise UsageError(f"{where}: unknown setting {key!r}{hint}.")
