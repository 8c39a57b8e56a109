"""A stand-in recognizer that counts loud samples, and audio for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

from device_asr.audio.format import SAMPLE_RATE
from device_asr.audio.source import AudioChunk
from device_asr.errors import DeviceError
from device_asr.events import AudioGap, Event, Final, Partial, SpeechStarted
from device_asr.recognition.resume import ResumePoint


class UtteranceCounter:
    """A stand-in recognizer: one utterance for each loud stretch; the text of its Final is its length in seconds."""

    def __init__(self, cost: Callable[[], float] = lambda: 0.0) -> None:
        self.time = 0.0
        self.speech_probability = 0.0
        self.partial_interval: float | None = 0.48
        self.backlogs: list[float] = []
        self.intervals: list[float | None] = []
        self._cost = cost
        self._utterance = 0
        self._start: float | None = None
        self._loud = 0  # samples
        self.resume_point = ResumePoint(0)

    def feed(self, pcm: np.ndarray, *, backlog: float = 0.0) -> list[Event]:
        self.backlogs.append(backlog)
        self.intervals.append(self.partial_interval)
        if self._cost():
            time.sleep(self._cost())
        start, self.time = self.time, self.time + len(pcm) / SAMPLE_RATE
        self._loud += int(np.sum(np.abs(pcm) > 0.01))
        speaking = bool(abs(pcm[-1]) > 0.01)
        self.speech_probability = float(speaking)
        if speaking and self._start is None:
            self._start = start
            return [SpeechStarted(self._utterance, start)]
        if speaking and int(self.time / 0.2) > int(start / 0.2):
            text = f"{self.time - self._start:.1f} so far"
            return [Partial(self._utterance, text, "", self._start, self.time, self.time)]
        return [] if speaking else self._end(start)

    def _end(self, end: float) -> list[Event]:
        if self._start is None:
            self.resume_point = ResumePoint(round(self.time * SAMPLE_RATE), self._utterance - 1)
            return []
        start, self._start = self._start, None
        text, self._loud = f"{self._loud / SAMPLE_RATE:.3f}", 0
        self._utterance += 1
        self.resume_point = ResumePoint(round(self.time * SAMPLE_RATE), self._utterance - 1)
        return [Final(self._utterance - 1, text, start, end, self.time, (), 1.0)]

    def resume(self, point: ResumePoint) -> None:
        self.resume_point = point
        self.time, self._utterance = point.position / SAMPLE_RATE, point.utterance + 1
        self._start, self._loud = None, 0

    def gap(self, lost: float, reason: str = "overflow") -> list[Event]:
        return [AudioGap(self.time, lost, reason)]

    def finish(self) -> list[Event]:
        return self._end(self.time)


class Audio:
    """A plain source: the given PCM in chunks of 0.1 s."""

    name = "audio"

    def __init__(self, pcm: np.ndarray, *, fails_at: float | None = None) -> None:
        self.pcm, self.fails_at, self.closed = pcm, fails_at, False

    def __iter__(self) -> Iterator[AudioChunk]:
        for at in range(0, len(self.pcm), 1600):
            if self.fails_at is not None and at / SAMPLE_RATE >= self.fails_at:
                raise DeviceError("The disk was pulled out.")
            yield AudioChunk(self.pcm[at : at + 1600], at / SAMPLE_RATE, time.monotonic())

    def close(self) -> None:
        self.closed = True


def speech(seconds: float) -> np.ndarray:
    return np.full(int(seconds * SAMPLE_RATE), 0.1, np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * SAMPLE_RATE), np.float32)
