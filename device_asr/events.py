"""What a recognizer says: frozen events, all times in seconds of the audio fed so far (audio clock).

Events compare equal when what was heard is equal: compute times, which depend on the machine, are
left out of the comparison, so that "the same events whatever the chunking" can be tested with `==`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

Seconds = float


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a Final: `start` and `end` in seconds, `confidence` in [0, 1]."""

    text: str
    start: Seconds
    end: Seconds
    confidence: float


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The voice activity detector heard speech begin at `time`; `utterance` counts from 0."""

    utterance: int
    time: Seconds


@dataclass(frozen=True, slots=True)
class Partial:
    """The utterance so far: `text` begins with `committed`, which later Partials of the utterance keep.

    `start` is the utterance's onset, `end` the audio it covers, `time` when on the audio clock it was due.
    """

    utterance: int
    text: str
    committed: str
    start: Seconds
    end: Seconds
    time: Seconds
    compute: Seconds = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Final:
    """A finished utterance. `time` is when on the audio clock it was due (hang-over included)."""

    utterance: int
    text: str
    start: Seconds
    end: Seconds
    time: Seconds
    words: tuple[Word, ...]
    confidence: float
    compute: Seconds = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """Speech of `utterance` ended at `time`; follows its Final, or stands alone where none was made."""

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


Event = SpeechStarted | Partial | Final | SpeechEnded | AudioGap | Failed

_KINDS: dict[type, str] = {
    SpeechStarted: "speech_started",
    Partial: "partial",
    Final: "final",
    SpeechEnded: "speech_ended",
    AudioGap: "audio_gap",
    Failed: "failed",
}
_CLASSES = {kind: cls for cls, kind in _KINDS.items()}


def to_record(event: Event) -> dict[str, Any]:
    """The event as a JSON-ready dictionary whose `event` key names its kind."""
    return {"event": _KINDS[type(event)], **asdict(event)}


def from_record(record: dict[str, Any]) -> Event:
    """The inverse of `to_record`; unknown keys are ignored so that older readers accept newer files.

    Raises:
        ValueError: `record` names no known kind.
    """
    cls = _CLASSES.get(record.get("event", ""))
    if cls is None:
        raise ValueError(f"wanted an event of {sorted(_CLASSES)}, found {record.get('event')!r}")
    values = {name: record[name] for name in cls.__dataclass_fields__ if name in record}
    if "utterance" not in values and "phrase" in record:  # the field's name in sessions of the first version
        values["utterance"] = record["phrase"]
    if cls is Final:
        values["words"] = tuple(Word(**word) for word in values["words"])
    return cls(**values)
