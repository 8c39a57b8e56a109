"""Settings: frozen dataclasses that validate themselves, read from TOML, the environment and flags.

Every setting has a unit, a range and one sentence; `describe` lists them, so that the commented config
file, the help screen and the error messages share one source.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from device_asr.errors import UsageError

APP_NAME = "device_asr"
RENAMED = {
    "endpoint.longest_phrase_s": "endpoint.longest_utterance_s",
    "partial.guard_ms": "partial.holdback_ms",
    "partial.first_guard_ms": "partial.first_holdback_ms",
    "final.favour_shown": "final.partial_bias_nats",
}
ENVIRONMENT_PREFIX = "DEVICE_ASR_"  # DEVICE_ASR_ENDPOINT_HANGOVER_MS=500


def setting(
    default: Any,
    help: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A dataclass field with its unit, inclusive range or choices, and one sentence of help."""
    metadata = {"help": help, "unit": unit, "low": low, "high": high, "choices": choices}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


class _Section:
    """Validates types, ranges and choices on construction."""

    _name = ""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for f in fields(self):  # type: ignore[arg-type]
            value = _coerce(getattr(self, f.name), hints[f.name], f"{self._name}.{f.name}")
            _check_range(value, f, f"{self._name}.{f.name}")
            object.__setattr__(self, f.name, value)


def _coerce(value: Any, hint: Any, where: str) -> Any:
    if get_origin(hint) is tuple:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            raise UsageError(f"{where}: wanted a list of texts, found {value!r}.")
        return tuple(value)
    if get_origin(hint) is dict:
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise UsageError(f"{where}: wanted a table of texts, found {value!r}.")
        return dict(value)
    if type(None) in get_args(hint):
        if value is None or value == "":
            return None
        hint = next(a for a in get_args(hint) if a is not type(None))
    if hint is bool:
        if isinstance(value, str) and value.lower() in ("1", "true", "yes", "on"):
            return True
        if isinstance(value, str) and value.lower() in ("0", "false", "no", "off"):
            return False
        if not isinstance(value, bool):
            raise UsageError(f"{where}: wanted true or false, found {value!r}.")
        return value
    if hint in (int, float):
        if isinstance(value, bool):
            raise UsageError(f"{where}: wanted a number, found {value!r}.")
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise UsageError(f"{where}: wanted a number, found {value!r}.") from None
        if hint is int:
            if number != int(number):
                raise UsageError(f"{where}: wanted a whole number, found {value!r}.")
            return int(number)
        return number
    if hint is str and not isinstance(value, str):
        raise UsageError(f"{where}: wanted a text, found {value!r}.")
    return value


def _check_range(value: Any, f: Field[Any], where: str) -> None:
    meta = f.metadata
    if value is None or not meta:
        return
    low, high, unit = meta["low"], meta["high"], meta["unit"]
    # `not (low <= value)` also refuses NaN
    if (low is not None and not low <= value) or (high is not None and not value <= high):
        raise UsageError(f"{where}: wanted {low} to {high} {unit}".rstrip() + f", found {value}.")
    if meta["choices"] and value not in meta["choices"]:
        near = difflib.get_close_matches(str(value), meta["choices"], 1, cutoff=0.0)[0]
        raise UsageError(
            f"{where}: wanted one of {', '.join(meta['choices'])}, found {value!r}; the nearest is {near!r}."
        )


@dataclass(frozen=True)
class ModelConfig(_Section):
    _name = "model"
    name: str = setting("en-tiny", "name of a shipped model, or the path of a bundle folder")
    threads: int = setting(2, "threads of the model's computation", low=1, high=64)
    fast: bool = setting(False, "skip the checksum of the programs when loading")


@dataclass(frozen=True)
class AudioConfig(_Section):
    _name = "audio"
    devices: tuple[str, ...] = setting((), "devices to use, best first: index or part of the name; empty: the default")
    channel: int = setting(0, "channel to take, counted from 1; 0 mixes all", low=0, high=64)
    ring_s: float = setting(30.0, "audio kept while the recognizer is busy", unit="s", low=10, high=600)


@dataclass(frozen=True)
class EndpointConfig(_Section):
    _name = "endpoint"
    on: float = setting(0.5, "speech probability that opens an utterance", low=0.05, high=0.99)
    off: float = setting(
        0.35, "probability under which speech is taken to pause; below `on` (hysteresis)", low=0.01, high=0.95
    )
    preroll_ms: int = setting(300, "audio kept from before the onset", unit="ms", low=0, high=2000)
    hangover_ms: int = setting(600, "pause that ends an utterance", unit="ms", low=96, high=5000)
    min_speech_ms: int = setting(96, "shorter bursts are not speech", unit="ms", low=32, high=1000)
    longest_utterance_s: float = setting(
        20.0, "a longer utterance is cut at its quietest point", unit="s", low=5, high=28
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.off > self.on:
            raise UsageError(f"endpoint.off: wanted at most endpoint.on = {self.on}, found {self.off}.")


@dataclass(frozen=True)
class DecodingConfig(_Section):
    _name = "decoding"
    guards: bool = setting(True, "stop loops and drop invented text")
    tokens_per_second: float = setting(
        12.0, "more tokens than this per second of speech are a loop", unit="1/s", low=2, high=50
    )
    repeat_ngram: int = setting(4, "the same n tokens this often in a row are a loop", low=2, high=20)
    compression_ratio: float = setting(2.4, "text that zlib shrinks by more is a loop", low=1, high=10)
    no_speech: float = setting(0.6, "no-speech probability above which a doubtful utterance is dropped", low=0, high=1)
    min_logprob: float = setting(-1.0, "mean log-probability under which an utterance is doubtful", low=-10, high=0)
    hotwords: str | None = setting(
        None,
        "file of custom words: one word or phrase a line, as it is to be written, and "
        "after a tab how much it is favored (1 is usual); empty: none",
    )


@dataclass(frozen=True)
class PartialConfig(_Section):
    _name = "partial"
    enabled: bool = setting(True, "show text while the utterance goes on")
    interval_ms: int = setting(
        480, "time between two updates; with the stream they come with the nearest chunk", unit="ms", low=96, high=5000
    )
    mode: str = setting(
        "stream",
        "hear each chunk once, or encode the whole utterance again; a model without the method "
        "`stream` can only do the latter",
        choices=("stream", "reencode"),
    )
    agreement: int = setting(
        2, "reencode: successive hypotheses that must agree before words are committed", low=2, high=5
    )
    first_holdback_ms: int = setting(
        160,
        "stream: an utterance's first word is shown when it was heard this long before the last audio",
        unit="ms",
        low=0,
        high=2000,
    )
    holdback_ms: int = setting(460, "the same of the words after it", unit="ms", low=0, high=2000)
    late_ms: int = setting(
        400, "an update is skipped when more audio than this is waiting", unit="ms", low=0, high=10000
    )


@dataclass(frozen=True)
class FinalConfig(_Section):
    _name = "final"
    mode: str = setting(
        "full",
        "full: a finished utterance is encoded once more, with full context; stream: its text comes "
        "from what was heard chunk by chunk, which a slow device has computed already",
        choices=("full", "stream"),
    )
    partial_bias_nats: float = setting(
        1.0,
        "stream: a word of the last partial stays in the final unless another is so "
        "much more likely; 0: always the likeliest",
        unit="nats",
        low=0,
        high=20,
    )
    beam: int = setting(
        2,
        "texts that are followed side by side, the likeliest of which is taken, where no partials are "
        "shown; 1: the likeliest token each time",
        low=1,
        high=8,
    )


@dataclass(frozen=True)
class InterfaceConfig(_Section):
    _name = "interface"
    theme: str = setting("dark", "colors of the interface", choices=("dark", "light"))
    paragraph_s: float = setting(2.0, "pause that begins a new paragraph", unit="s", low=0.5, high=60)
    keys: dict[str, str] = setting({}, 'key bindings by action, such as pause = "space"')


@dataclass(frozen=True)
class SessionConfig(_Section):
    _name = "session"
    folder: str | None = setting(None, "where sessions are kept; empty: the user data folder")
    record: bool = setting(False, "keep the audio beside the text")


@dataclass(frozen=True)
class Config:
    """All settings; sections are frozen and valid."""

    model: ModelConfig = field(default_factory=ModelConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    endpoint: EndpointConfig = field(default_factory=EndpointConfig)
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    partial: PartialConfig = field(default_factory=PartialConfig)
    final: FinalConfig = field(default_factory=FinalConfig)
    interface: InterfaceConfig = field(default_factory=InterfaceConfig)
    session: SessionConfig = field(default_factory=SessionConfig)


SECTIONS: dict[str, type] = {f.name: f.default_factory for f in fields(Config)}  # type: ignore[misc]


@dataclass(frozen=True)
class Setting:
    """One setting for a person to read: `key` is `section.name`."""

    key: str
    default: Any
    help: str
    unit: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]


def describe() -> Iterator[Setting]:
    """Every setting with its default, unit and range."""
    for section, cls in SECTIONS.items():
        for f in fields(cls):
            default = f.default_factory() if f.default is MISSING else f.default  # type: ignore[misc]
            yield Setting(f"{section}.{f.name}", default, **f.metadata)


def config_path() -> Path:
    """The platform's place for the config file (`DEVICE_ASR_CONFIG` overrides it)."""
    override = os.environ.get(ENVIRONMENT_PREFIX + "CONFIG")
    if override:
        return Path(override)
    import platformdirs

    return Path(platformdirs.user_config_dir(APP_NAME)) / "config.toml"


@dataclass(frozen=True)
class LoadedConfig:
    """Effective settings, and for each `section.name` where its value came from."""

    config: Config
    origins: dict[str, str]


def load(
    path: Path | None = None, environ: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
) -> LoadedConfig:
    """Defaults, then the file, then the environment, then the flags (keys `section.name`; None: not given).

    Raises:
        UsageError: unknown key (with the nearest valid name), wrong type, out of range, broken TOML.
    """
    environ = os.environ if environ is None else environ
    known = {k.key for k in describe()}
    values: dict[str, Any] = {}
    origins = {key: "default" for key in known}

    explicit = path is not None or ENVIRONMENT_PREFIX + "CONFIG" in environ
    path = path or config_path()
    for key, value in _read_file(path, required=explicit):
        _check_known(key, known, str(path))
        values[key], origins[key] = value, str(path)
    for key in known:
        name = ENVIRONMENT_PREFIX + key.replace(".", "_").upper()
        if name in environ and not key.startswith("interface.keys"):
            values[key], origins[key] = environ[name], f"environment {name}"
    for key, value in (flags or {}).items():
        _check_known(key, known, "flag")
        if value is not None:
            values[key], origins[key] = value, "flag"

    sections = {}
    for section, cls in SECTIONS.items():
        prefix = section + "."
        own = {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
        sections[section] = cls(**own)
    return LoadedConfig(Config(**sections), origins)


def _read_file(path: Path, *, required: bool) -> Iterator[tuple[str, Any]]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if required:
            raise UsageError(f"Config file {path} does not exist; `device-asr config --init` writes one.") from None
        return
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Config file {path} cannot be read: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"Config file {path} is not valid TOML: {error}.") from None
    for section, own in table.items():
        if not isinstance(own, dict):
            _check_known(section, set(SECTIONS), str(path))
            raise UsageError(f"{path}: wanted a table [{section}], found {own!r}.")
        for name, value in own.items():
            yield f"{section}.{name}", value


def _check_known(key: str, known: set[str], where: str) -> None:
    if key in known:
        return
    if key in RENAMED:
        raise UsageError(f"{where}: the setting {key!r} is called {RENAMED[key]!r} now; change the name.")
    near = difflib.get_close_matches(key, sorted(known), 1, cutoff=0.0)
    hint = f"; the nearest valid name is {near[0]!r}" if near else ""
    raise UsageError(f"{where}: unknown setting {key!r}{hint}.")
