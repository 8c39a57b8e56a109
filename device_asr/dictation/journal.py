"""The calls of a recognizer since its last resume point, kept so that another one can be given the same calls."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from device_asr.audio.format import SAMPLE_RATE
from device_asr.events import Seconds
from device_asr.recognition.resume import ResumePoint


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A call of a recognizer's method.

    number: counts the calls. position: samples that were fed before it.
    interval: `partial_interval` at the call. backlog: of `feed`.
    pcm: of `feed`, else empty. lost, reason: of `gap`.
    """

    number: int
    method: str
    position: int
    interval: Seconds | None
    pcm: np.ndarray
    backlog: Seconds = 0.0
    lost: Seconds = 0.0
    reason: str = ""

    @property
    def end(self) -> int:
        """Samples that were fed when it has been made."""
        return self.position + len(self.pcm)


class Journal:
    """A queue of calls whose first ones are kept after they were answered, back to the last resume point.

    Answered audio of more than `keep` seconds is not kept, whatever the resume point; calls that wait always are.

    point: the place before the first call that is kept.
    position: samples that were fed up to the last call.
    forgotten: seconds of answered audio between the last true resume point and `point` that are kept no longer.
    """

    def __init__(self, keep: Seconds) -> None:
        self.point = ResumePoint(0)
        self.position = 0
        self.forgotten: Seconds = 0.0
        self._keep = int(keep * SAMPLE_RATE)
        self._calls: deque[Call] = deque()
        self._next = self._answered = 0  # index of the call to make; number of first calls that were answered

    @property
    def waiting(self) -> Seconds:
        """Seconds of audio whose calls were never answered."""
        calls = self._calls
        done = calls[self._answered].position if self._answered < len(calls) else self.position
        return (self.position - done) / SAMPLE_RATE

    @property
    def next(self) -> Call | None:
        """The call to make now."""
        return self._calls[self._next] if self._next < len(self._calls) else None

    @property
    def repeats(self) -> bool:
        """Whether the call to make now was answered before."""
        return self._next < self._answered

    def add(self, call: Call) -> None:
        """Appends a call, which begins at `position`."""
        self._calls.append(call)
        self.position = call.end

    def answered(self, point: ResumePoint | None, utterance: int) -> None:
        """The call to make was answered.

        Args:
            point: the recognizer's resume point where it has moved.
            utterance: number of the last utterance that began.
        """
        call = self._calls[self._next]
        self._next += 1
        self._answered = max(self._answered, self._next)
        if point is not None:
            self._begin_at(point, self._next - 1)
            rest = call.end - point.position
            if rest > 0:
                self._calls[0] = replace(call, position=point.position, pcm=call.pcm[-rest:])
            else:
                self._drop(1)
            self.forgotten = 0.0
        while self._answered and self._calls[self._answered - 1].end - self.point.position > self._keep:
            first = self._calls[0]
            self.forgotten += len(first.pcm) / SAMPLE_RATE
            self._begin_at(ResumePoint(first.end, utterance), 1)

    def rewind(self) -> None:
        """Another recognizer has the resume point; all calls are to be made again."""
        self._next = 0

    def silence(self, call: Call) -> Seconds:
        """Puts silence in the place of the audio of one of the calls; its seconds."""
        self._calls[self._calls.index(call)] = replace(call, pcm=np.zeros_like(call.pcm))
        return len(call.pcm) / SAMPLE_RATE

    def skip(self, call: Call, utterance: int) -> Seconds:
        """Drops everything up to the end of one of the calls, and begins anew there; the seconds of audio.

        Args:
            utterance: number of the last utterance that began.
        """
        lost = (call.end - self.point.position) / SAMPLE_RATE + self.forgotten
        self._begin_at(ResumePoint(call.end, utterance), self._calls.index(call) + 1)
        return lost

    def _begin_at(self, point: ResumePoint, calls: int) -> None:
        """Makes `point` the place before the first call, once the first `calls` are dropped."""
        self.point = point
        self._drop(calls)

    def _drop(self, calls: int) -> None:
        for _ in range(calls):
            self._calls.popleft()
        self._next = max(0, self._next - calls)
        self._answered = max(0, self._answered - calls)
