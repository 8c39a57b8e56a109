"""The seams of recognition: the recognizer, what encodes an utterance, and what is shown while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from device_asr.decoding.hypothesis import Encoded, Hypothesis
from device_asr.events import Event, Seconds


class Recognizer(Protocol):
    """What the live session, the command line and the interface need of a recognizer.

    partial_interval: seconds between two partials; None: finals only. It may be set while the recognizer runs
        (a slow machine lengthens it).
    """

    partial_interval: Seconds | None

    @property
    def time(self) -> Seconds:
        """Seconds of audio fed so far."""
        ...

    @property
    def speech_probability(self) -> float:
        """The voice activity detector's last value, in [0, 1]."""
        ...

    def feed(self, pcm: np.ndarray, *, backlog: Seconds = 0.0) -> list[Event]:
        """Events caused by `pcm`, (n,) float32 in [-1, 1] or int16, 16 kHz mono.

        `backlog` is how many seconds of audio are already waiting behind `pcm`: a partial that would
        be late is skipped, never queued.
        """
        ...

    def gap(self, lost: Seconds, reason: str = "overflow") -> list[Event]:
        """Tells that `lost` seconds are missing here: an AudioGap event, the utterance goes on."""
        ...

    def finish(self) -> list[Event]:
        """Ends the utterance in progress; afterward feeding may go on with a new utterance."""
        ...


class UtteranceEncoder(Protocol):
    """Encodes an utterance while it goes on, as far as the model can, and knows whether there is a voice in it."""

    def begin(self, audio: np.ndarray) -> None:
        """Opens a new utterance, which begins with `audio`, (n,) float32 at 16 kHz."""
        ...

    def feed(self, frame: np.ndarray) -> None:
        """Takes the next (n,) float32 of the utterance."""
        ...

    def end(self) -> None:
        """Encodes the rest: no more audio of this utterance comes."""
        ...

    def encoded(self, samples: int) -> Encoded | None:
        """The utterance's first `samples`, encoded for the decoder; None: the encoder keeps none, or too few."""
        ...

    def no_voice(self) -> bool:
        """Whether there is evidence that the utterance holds no words; False where the encoder cannot tell."""
        ...

    def last_voice(self) -> Seconds | None:
        """Seconds from the utterance's beginning to the last evidence of speech; None: no evidence."""
        ...


@dataclass(frozen=True, slots=True)
class Shown:
    """What a partial shows.

    committed: the first tokens of the hypothesis, which stay until the final.
    """

    hypothesis: Hypothesis
    committed: tuple[int, ...]


class PartialPolicy(Protocol):
    """Decides when a partial is made, what it shows, and what it commits."""

    @property
    def draft(self) -> tuple[int, ...]:
        """The last hypothesis of the utterance, from which the final decoding starts; empty: there is none."""
        ...

    @property
    def biased(self) -> bool:
        """Whether the final decoding keeps the draft's words unless others are clearly more likely."""
        ...

    def begin(self) -> None:
        """Opens a new utterance."""
        ...

    def due(self, since: Seconds, interval: Seconds) -> bool:
        """Whether an update may bring something new; asked after each frame.

        Args:
            since: seconds since the last update, or since the onset.
            interval: seconds between two updates that the recognizer wants.
        """
        ...

    def update(self, audio: Callable[[], np.ndarray], pause: Seconds, spoken: bool) -> Shown | None:
        """What to show now; None: nothing new.

        Args:
            audio: gives the whole utterance so far, (n,) float32.
            pause: seconds since the last speech.
            spoken: whether the voice activity detector found speech in the utterance.
        """
        ...
