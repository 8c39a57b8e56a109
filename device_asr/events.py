"""The events of a recognizer: frozen, with all times in seconds of the audio fed so far (audio clock).

The comparison of two events leaves out their compute times, which depend on the machine, so that a test
can state with `==` that the events do not depend on how the audio was cut.

Texts are one line without control characters, whatever they were made of (a decoder, another process, a file):
terminals, and programs that type, act on those.
"""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any, TypeVar

from device_asr.printable import printable, spoken_text

Seconds = float


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a Final: `start` and `end` in seconds, `confidence` in [0, 1]."""

    text: str
    start: Seconds
    end: Seconds
    confidence: float

    def __post_init__(self) -> None:
        _clean(self, "text")


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The voice activity detector found speech from `time` on; `utterance` counts from 0."""

    utterance: int
    time: Seconds


@dataclass(frozen=True, slots=True)
class Partial:
    """The utterance so far: `text` begins with `committed`, which later Partials of the utterance keep.

    start: onset of the utterance. end: end of the audio it covers. time: when it was due on the audio clock.
    """

    utterance: int
    text: str
    committed: str
    start: Seconds
    end: Seconds
    time: Seconds
    compute: Seconds = field(default=0.0, compare=False)

    def __post_init__(self) -> None:
        _clean(self, "text", "committed")


@dataclass(frozen=True, slots=True)
class Final:
    """A finished utterance; `time` is when it was due on the audio clock, hang-over included."""

    utterance: int
    text: str
    start: Seconds
    end: Seconds
    time: Seconds
    words: tuple[Word, ...]
    confidence: float
    compute: Seconds = field(default=0.0, compare=False)

    def __post_init__(self) -> None:
        _clean(self, "text")


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """Speech of `utterance` ended at `time`; it follows the Final, or stands alone where the utterance has no text."""

    utterance: int
    time: Seconds


@dataclass(frozen=True, slots=True)
class AudioGap:
    """`lost` seconds of audio before `time` never reached the recognizer (overflow, unplugged device)."""

    time: Seconds
    lost: Seconds
    reason: str = "overflow"


@dataclass(frozen=True, slots=True)
class Failed:
    """Something broke for good; `message` is one sentence for a person."""

    time: Seconds
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", printable(self.message))


Event = SpeechStarted | Partial | Final | SpeechEnded | AudioGap | Failed

_KINDS: dict[type[Event], str] = {
    SpeechStarted: "speech_started",
    Partial: "partial",
    Final: "final",
    SpeechEnded: "speech_ended",
    AudioGap: "audio_gap",
    Failed: "failed",
}
_CLASSES: dict[str, type[Event]] = {kind: cls for cls, kind in _KINDS.items()}


def _clean(event: Event | Word, *names: str) -> None:
    """Puts a space in the place of each control character in the named texts of a frozen event."""
    for name in names:
        object.__setattr__(event, name, spoken_text(getattr(event, name)))


_Text = TypeVar("_Text", Partial, Final)


def shifted(event: _Text, by: Seconds) -> _Text:
    """`event` with all times moved by `by` seconds, none below 0."""
    if not by:
        return event

    def move(time: Seconds) -> Seconds:
        return round(max(0.0, time + by), 3)

    moved = replace(event, start=move(event.start), end=move(event.end), time=move(event.time))
    if isinstance(moved, Final):
        moved = replace(moved, words=tuple(replace(w, start=move(w.start), end=move(w.end)) for w in moved.words))
    return moved


def to_record(event: Event) -> dict[str, Any]:
    """The event as a JSON-ready dictionary whose `event` key names its kind."""
    return {"event": _KINDS[type(event)], **asdict(event)}


def from_record(record: dict[str, Any]) -> Event:
    """The inverse of `to_record`; unknown keys are ignored so that older readers accept newer files.

    Raises:
        ValueError: `record` names no known kind, or a value is missing or of the wrong type.
    """
    kind = record.get("event", "")
    cls = _CLASSES.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise ValueError(f"wanted an event of {sorted(_CLASSES)}, found {kind!r}")
    if "utterance" not in record and "phrase" in record:  # the field's name in sessions of the first version
        record = {**record, "utterance": record["phrase"]}
    event: Event = _read(cls, record)
    return event


LARGEST = 1e12  # of a number that is read: no time and no count comes near it, and arithmetic with it is exact


def _read(cls: Any, record: Any) -> Any:
    """One of the dataclasses above out of a dictionary, each value checked against the field's type."""
    if not isinstance(record, dict):
        raise ValueError(f"wanted the values of a {cls.__name__}, found {record!r}")
    values = {}
    for f in fields(cls):
        if f.name in record:
            values[f.name] = _value(str(f.type), record[f.name], f.name)
        elif f.default is MISSING:
            raise ValueError(f"a {cls.__name__} lacks {f.name!r}")
    return cls(**values)


def _value(kind: str, value: Any, name: str) -> Any:
    """`value` where it is of the type that is written as `kind`."""
    if kind == "tuple[Word, ...]" and isinstance(value, list | tuple):
        return tuple(_read(Word, word) for word in value)
    if kind == "str" and isinstance(value, str):
        return value
    number = isinstance(value, int if kind == "int" else int | float) and not isinstance(value, bool)
    if kind in ("int", "float", "Seconds") and number and abs(value) <= LARGEST:  # NaN is not
        return value
    raise ValueError(f"{name}: wanted a value of type {kind}, found {value!r:.100}")
