"""The sections of the settings: frozen dataclasses that validate themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from device_asr.config.setting import Section, setting
from device_asr.errors import UsageError


@dataclass(frozen=True)
class ModelConfig(Section):
    """Which model computes, and how."""

    title = "model"
    name: str = setting("en-tiny", "name of a model, or path of a bundle's folder, such as ./mine")
    threads: int = setting(2, "threads that compute the model", low=1, high=64)
    fast: bool = setting(False, "skip the checksum of the programs when loading")


@dataclass(frozen=True)
class AudioConfig(Section):
    """Where audio comes from."""

    title = "audio"
    devices: tuple[str, ...] = setting(
        (), "microphones to use, best first, each by its index or a part of its name; empty: the system's default"
    )
    channel: int = setting(0, "channel to use, counted from 1; 0 mixes all channels", low=0, high=64)
    ring_s: float = setting(30.0, "audio kept while the recognizer is busy", unit="s", low=10, high=600)


@dataclass(frozen=True)
class EndpointConfig(Section):
    """Where an utterance begins and ends."""

    title = "endpoint"
    on: float = setting(0.5, "speech probability at which an utterance begins", low=0.05, high=0.99)
    off: float = setting(
        0.35, "speech probability below which speech pauses; at most `on` (hysteresis)", low=0.01, high=0.95
    )
    preroll_ms: int = setting(300, "audio included from before the onset of speech", unit="ms", low=0, high=2000)
    hangover_ms: int = setting(600, "pause that ends an utterance", unit="ms", low=96, high=5000)
    min_speech_ms: int = setting(96, "shorter bursts do not count as speech", unit="ms", low=32, high=1000)
    longest_utterance_s: float = setting(
        20.0, "a longer utterance is cut at its quietest point", unit="s", low=5, high=28
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.off > self.on:
            raise UsageError(f"endpoint.off: wanted at most endpoint.on = {self.on}, found {self.off}.")


@dataclass(frozen=True)
class DecodingConfig(Section):
    """How audio becomes text."""

    title = "decoding"
    guards: bool = setting(True, "stop loops and drop text that was never spoken")
    tokens_per_second: float | None = setting(
        None,
        "more tokens than this per second of speech are a loop; empty: the model's own limit",
        unit="1/s",
        low=2,
        high=50,
    )
    empty_text: str = setting(
        "model",
        "where an utterance may get no text: model: as the model says; silence: only where the voice activity "
        "detector found no speech; free: wherever its vocabulary allows it",
        choices=("model", "silence", "free"),
    )
    repeat_ngram: int = setting(4, "a sequence of tokens that repeats this often in a row is a loop", low=2, high=20)
    compression_ratio: float = setting(
        2.4, "text that zlib compresses by more than this factor is a loop", low=1, high=10
    )
    no_speech: float = setting(0.6, "no-speech probability above which a doubtful utterance is dropped", low=0, high=1)
    min_logprob: float = setting(-1.0, "mean log-probability below which an utterance is doubtful", low=-10, high=0)
    hotwords: str | None = setting(
        None,
        "file of custom words: one word or phrase a line, written as it should appear; a tab and a number "
        "after it set how strongly it is favored (1 is usual); empty: none",
    )


@dataclass(frozen=True)
class PartialConfig(Section):
    """Text that is shown while an utterance goes on."""

    title = "partial"
    enabled: bool = setting(True, "show text while an utterance goes on")
    interval_ms: int = setting(
        480,
        "time between two updates; in mode stream an update comes with the nearest chunk",
        unit="ms",
        low=96,
        high=5000,
    )
    mode: str = setting(
        "stream",
        "stream: encode each chunk of audio once; reencode: encode the whole utterance for every update, the "
        "only mode of a model without the method `stream`",
        choices=("stream", "reencode"),
    )
    agreement: int = setting(
        2, "mode reencode: successive hypotheses that must agree before words are committed", low=2, high=5
    )
    first_holdback_ms: int = setting(
        160,
        "mode stream: the first word of an utterance is shown when this much audio follows it",
        unit="ms",
        low=0,
        high=2000,
    )
    holdback_ms: int = setting(
        460, "mode stream: a later word is shown when this much audio follows it", unit="ms", low=0, high=2000
    )
    late_ms: int = setting(
        400, "an update is skipped when more audio than this is waiting", unit="ms", low=0, high=10000
    )


@dataclass(frozen=True)
class FinalConfig(Section):
    """The text of a finished utterance."""

    title = "final"
    mode: str = setting(
        "full",
        "full: encode a finished utterance once more, with full context; stream: decode its chunks as they "
        "were encoded, which saves a slow device the second encoding",
        choices=("full", "stream"),
    )
    partial_bias_nats: float = setting(
        1.0,
        "mode stream: the final keeps a word of the last partial unless another word is more likely by more "
        "than this; 0: always the likeliest word",
        unit="nats",
        low=0,
        high=20,
    )
    beam: int = setting(
        2,
        "hypotheses that the search follows side by side where no partials are shown; 1: greedy search",
        low=1,
        high=8,
    )


@dataclass(frozen=True)
class InterfaceConfig(Section):
    """How the terminal interface looks and listens to keys."""

    title = "interface"
    theme: str = setting("dark", "colors of the interface", choices=("dark", "light"))
    paragraph_s: float = setting(2.0, "pause that begins a new paragraph", unit="s", low=0.5, high=60)
    keys: dict[str, str] = setting({}, 'keys by action, such as pause = "space"')


@dataclass(frozen=True)
class SessionConfig(Section):
    """Where sessions are kept, and with which parts."""

    title = "session"
    folder: str | None = setting(None, "folder where sessions are kept; empty: the user data folder")
    record: bool = setting(False, "keep the audio beside the text")
    private: bool = setting(
        True,
        "nobody else can read new folders of sessions, their files, saved and exported text; false: as the umask says",
    )


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


SECTIONS: dict[str, type[Section]] = {name: type(section) for name, section in vars(Config()).items()}


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
    for name, section in SECTIONS.items():
        defaults = section()
        for f in fields(section):
            yield Setting(f"{name}.{f.name}", getattr(defaults, f.name), **f.metadata)
