"""What the rest of the program needs of a recognizer."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from device_asr.events import Event


class Recognizer(Protocol):
    """What the live session, the command line and the interface need of a recognizer.

    time: seconds of audio fed so far.
    speech_probability: the voice activity detector's last value in [0, 1].
    partial_interval: seconds between two partials; None: finals only. Settable while running
        (a slow machine lengthens it).
    """

    time: float
    speech_probability: float
    partial_interval: float | None

    def feed(self, pcm: np.ndarray, *, backlog: float = 0.0) -> list[Event]:
        """Events caused by `pcm`, (n,) float32 in [-1, 1] or int16, 16 kHz mono.

        `backlog` is how many seconds of audio are already waiting behind `pcm`: a partial that would
        be late is skipped, never queued.
        """
        ...

    def gap(self, lost: float, reason: str = "overflow") -> list[Event]:
        """Tells that `lost` seconds are missing here: an AudioGap event, the utterance goes on."""
        ...

    def finish(self) -> list[Event]:
        """Ends the utterance in progress; afterward feeding may go on with a new utterance."""
        ...
