"""What the product promises, counted over a recognizer's events: no sound lost, no final lost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from device_asr.events import AudioGap, Event, Final, Partial, Seconds


@dataclass(frozen=True, slots=True)
class Broken:
    """What was lost: seconds of sound that never reached the recognizer, and finals.

    A final is lost where words of an utterance were shown to its end and no Final came.
    """

    sound: Seconds = 0.0
    finals: int = 0

    def __add__(self, other: Broken) -> Broken:
        return Broken(self.sound + other.sound, self.finals + other.finals)


def broken(events: Iterable[Event]) -> Broken:
    """What was lost over the events of whole utterances; a Partial without text takes the words before it back."""
    sound, shown = 0.0, dict[int, str]()
    for event in events:
        if isinstance(event, AudioGap):
            sound += event.lost
        elif isinstance(event, Partial):
            shown[event.utterance] = event.text.strip()
        elif isinstance(event, Final):
            shown.pop(event.utterance, None)
    return Broken(sound, sum(bool(text) for text in shown.values()))
