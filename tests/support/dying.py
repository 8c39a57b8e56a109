"""A recognizer whose text tells every sample that it was given, and a process in this process that dies when told."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from device_asr.audio.format import SAMPLE_RATE
from device_asr.child import Died
from device_asr.config import Config
from device_asr.decoding.hypothesis import Hypothesis
from device_asr.dictation.journal import Call
from device_asr.dictation.remote import recognizer_and_answer
from device_asr.events import Word
from device_asr.recognition.protocol import Shown
from device_asr.recognition.recognizer import StreamingRecognizer
from device_asr.recognition.resume import Resumable
from device_asr.recognition.whole_utterance import WholeUtterance

POISON = 1.0  # a sample of this value kills the process


class LeakyDetector:
    """The level of the audio so far, smoothed, so that it depends on all of it."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.state = {"state[0]": np.zeros(1, np.float64)}

    def __call__(self, frame: np.ndarray) -> float:
        level = 0.8 * self.state["state[0]"] + 0.2 * min(1.0, 20 * float(np.abs(frame).mean()))
        self.state = {"state[0]": level}
        return float(level[0])


class CountingPolicy:
    """Counts its updates, and commits nothing."""

    biased = False
    draft = ()

    def begin(self) -> None:
        self.updates = 0

    def due(self, since: float, interval: float) -> bool:
        return since >= interval

    def update(self, audio: Callable[[], np.ndarray], pause: float, spoken: bool) -> Shown:
        self.updates += 1
        return Shown(Hypothesis((self.updates, zlib.crc32(audio().tobytes())), (), 0.0, np.zeros(0), False), ())


class AllSpeech:
    """In place of a decoder."""

    def is_speech(self, hypothesis: Hypothesis) -> bool:
        return True


class Digest(StreamingRecognizer):
    """The real recognizer, in which a final's text tells its samples, partials and voice activity."""

    def __init__(self, config: Config) -> None:
        super().__init__(LeakyDetector(), AllSpeech(), WholeUtterance(), CountingPolicy(), config)

    def _text(self, update: Shown, end: int) -> tuple[str, str]:
        return "{}:{:08x}".format(*update.hypothesis.tokens), ""

    def _decode(self, audio: np.ndarray, spoken: bool) -> Hypothesis:
        tokens = (self._policy.updates + 1000 * spoken, zlib.crc32(audio.tobytes()))
        return Hypothesis(tokens, (0.0,), 0.0, np.zeros(0), False)

    def _written(self, hypothesis: Hypothesis, audio: np.ndarray, end: int) -> tuple[str, tuple[Word, ...]]:
        active = sum(self._window.activity(self._start, end))
        text = f"{len(audio) / SAMPLE_RATE:.3f}:{active}:{'{}:{:08x}'.format(*hypothesis.tokens)}"
        return text, (Word(text, self._seconds(self._start), self._seconds(end), 1.0),)


@dataclass(frozen=True)
class Death:
    """After so many requests: before the next was worked on, or before its answer was sent; or while it loads.

    polls: how often the process that follows is not ready yet when it is asked.
    """

    requests: int
    when: Literal["before", "after", "loading"] = "before"
    polls: int = 0


class Processes:
    """Starts processes that run here, one after another; each dies as `deaths` says, the one after the last lives.

    Attributes:
        started: how many. requests: answered by all of them.
    """

    def __init__(self, deaths: Sequence[Death] = ()) -> None:
        self.deaths = list(deaths)
        self.started = self.requests = 0

    def __call__(self, factory: Callable[[], Resumable]) -> Process:
        former = self.deaths[self.started - 1] if 0 < self.started <= len(self.deaths) else Death(0)
        death = self.deaths[self.started] if self.started < len(self.deaths) else None
        self.started += 1
        return Process(self, factory, death, former.polls)


class Process:
    """One of them."""

    def __init__(self, of: Processes, factory: Callable[[], Resumable], death: Death | None, polls: int) -> None:
        self._of, self._death, self._polls = of, death, polls
        first, self._answer = recognizer_and_answer(factory)
        self._answers: list[Any] = [first]
        self._requests = 0
        self._dead = death is not None and death.when == "loading"

    def ready(self, timeout: float | None = 0.0) -> bool:
        self._polls -= 1
        return self._polls < 0 or timeout != 0.0

    def send(self, request: Any) -> None:
        dies = self._death is not None and self._requests >= self._death.requests
        if dies and self._death.when == "before":
            self._dead = True
        if self._dead:
            raise Died("was ended by SIGKILL")
        self._requests += 1
        self._of.requests += 1
        if isinstance(request, Call) and (request.pcm == POISON).any():
            self._dead = True
        answer = self._answer(request)
        self._dead = self._dead or dies
        self._answers.append(answer)

    def receive(self) -> Any:
        if self._dead:
            raise Died("was ended by SIGKILL")
        return self._answers.pop(0)

    def close(self) -> None:
        self._dead = True
