"""Places in the audio from which another recognizer goes on as if it had been there from the beginning.

A recognizer that takes such a point and the audio behind it gives the same events, bit for bit, as the one that
made the point: the point holds all that the past of the audio still has an influence on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from device_asr.recognition.endpoint import Endpointer
from device_asr.recognition.protocol import Recognizer


@dataclass(frozen=True, slots=True, eq=False)
class RecognizerState:
    """What a recognizer keeps where an utterance has just opened, or none is open.

    offset: samples that were added to fill up frames (`StreamingRecognizer.finish`).
    detector: state of the voice activity detector, by role. endpointer: a copy of it.
    audio, activity: (n, 512) float32 and (n,) bool: the last frames, from the first that an utterance may contain.
    onset, start: of the utterance that began last, in frames.
    """

    offset: int
    detector: Mapping[str, np.ndarray]
    endpointer: Endpointer
    audio: np.ndarray
    activity: np.ndarray
    onset: int
    start: int


@dataclass(frozen=True, slots=True, eq=False)
class ResumePoint:
    """A place in the audio.

    position: samples that were fed before it. utterance: number of the last utterance that began; -1: none.
    state: None: nothing is known of the audio before, and recognition begins anew.
    """

    position: int
    utterance: int = -1
    state: RecognizerState | None = None


class Resumable(Recognizer, Protocol):
    """A recognizer whose work another one can go on with.

    resume_point: the latest place from which that is possible; a new object whenever it has moved.
    """

    resume_point: ResumePoint

    def resume(self, point: ResumePoint) -> None:
        """Goes on from `point`, which a recognizer of the same settings made; what was fed here is forgotten."""
        ...
