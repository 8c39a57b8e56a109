"""A recognizer in a process of its own, behind the same interface, that outlives the death of that process.

The process is for isolation alone: out of memory, or with a crash in native code, it ends and is started again, and
neither the interface nor the recording nor the text so far is touched. Where the runtime holds the interpreter's
lock while a method runs, as ExecuTorch's Python binding does (another thread stood still for 0.44 s), the process
also keeps the interface moving, and with either runtime the model loads while the interface starts.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from device_asr.audio.format import SAMPLE_RATE
from device_asr.child import Answer, Child, Died
from device_asr.config import Config
from device_asr.dictation.journal import Call, Journal
from device_asr.dictation.restarts import Restarts
from device_asr.errors import DeviceAsrError
from device_asr.events import AudioGap, Event, Seconds, SpeechEnded, SpeechStarted
from device_asr.recognition.endpoint import longest_utterance
from device_asr.recognition.resume import Resumable, ResumePoint

SPARE: Seconds = 2.0  # kept beyond the longest utterance: the resume point moves once a second while nobody speaks
KEEP: Seconds = 33.0  # that of the longest utterance which can be set
TURN: Seconds = 0.02  # of work in a call of `feed` while audio waits; a chunk of 32 ms comes meanwhile
LOAD_TIMEOUT: Seconds = 120.0  # a process that has not loaded by then is ended
REASON = "recognizer ended"  # of a gap
NO_PCM = np.zeros(0, np.float32)


class Process(Protocol):
    """What is needed of a `Child`."""

    def ready(self, timeout: Seconds | None = 0.0) -> bool: ...
    def send(self, request: object) -> None: ...
    def receive(self) -> Any: ...
    def close(self) -> None: ...


def load(config: Config) -> RemoteRecognizer:
    """The recognizer of `assemble(config)` in a process of its own; raises BundleError as `assemble` does."""
    keep = longest_utterance(config.endpoint) + SPARE
    return RemoteRecognizer(functools.partial(_streaming_recognizer, config), keep=keep)


def _streaming_recognizer(config: Config) -> Resumable:
    from device_asr.recognition.assemble import assemble

    return assemble(config)


def start(factory: Callable[[], Resumable]) -> Child:
    """A process with the recognizer that `factory` makes there."""
    return Child("recognizer", functools.partial(recognizer_and_answer, factory))


class RemoteRecognizer:
    """A `Recognizer` whose work is done by a process; when that dies, another one is given its resume point.

    While the new process loads, audio waits here: `feed` returns at once and brings events later, `finish` waits. The
    new process is then given the calls since the resume point again. Events that were delivered before are left
    out, the others are those that the first process would have given.

    A process that dies again and again at the same audio gets silence in its place, then is given nothing of the
    utterance; both are AudioGap events. See `Restarts`.

    loading: whether the process loads. waiting: seconds of audio that were fed and not recognized yet because of that.
    time, speech_probability: see `Recognizer`.

    Args:
        factory: makes the recognizer in the process; it is pickled.
        keep: seconds of answered audio that are kept for another process at most; an utterance that is longer than
            that loses its beginning when the process dies, as an AudioGap event says.
        start: starts a process.

    Raises:
        DeviceAsrError: what `factory` raised, or the process has died too often; also from every method.
    """

    def __init__(
        self,
        factory: Callable[[], Resumable],
        *,
        keep: Seconds = KEEP,
        start: Callable[[Callable[[], Resumable]], Process] = start,
    ) -> None:
        self._factory, self._start = factory, start
        self._restarts = Restarts()
        self._journal = Journal(keep)
        self._calls = 0
        self._utterance, self._open = -1, False  # the last that began; whether its end was not told yet
        self._silenced: list[Event] = []  # told when the call with silence in the place of its audio is answered
        self._deaths: list[str] = []
        self._report: Callable[[str], None] = self._deaths.append
        self._reported = False  # the death since which nothing new was recognized
        self.time = self.speech_probability = 0.0
        self.waiting: Seconds = 0.0
        self.partial_interval: Seconds | None = None
        self._begin()
        while self.loading:
            try:
                self._load(wait=True)
            except Died as death:
                self._again(None, death.how)

    def report_deaths(self, report: Callable[[str], None]) -> None:
        """Has `report` called with one sentence for each death, on the thread that uses the recognizer.

        Deaths in a row, while nothing new is recognized, are one. A death so far is told now.
        """
        for sentence in self._deaths:
            report(sentence)
        self._report = report

    def feed(self, pcm: np.ndarray, *, backlog: Seconds = 0.0) -> list[Event]:
        """See `Recognizer.feed`."""
        return self._call("feed", TURN, pcm=pcm, backlog=backlog)

    def gap(self, lost: Seconds, reason: str = "overflow") -> list[Event]:
        """See `Recognizer.gap`."""
        return self._call("gap", TURN, lost=lost, reason=reason)

    def finish(self) -> list[Event]:
        """See `Recognizer.finish`."""
        return self._call("finish", math.inf)

    def close(self) -> None:
        """Ends the process; idempotent."""
        self._process.close()

    def _call(self, method: str, patience: Seconds, pcm: np.ndarray = NO_PCM, **values: Any) -> list[Event]:
        """Enters a call and makes those that wait: at least two of them, and more for `patience` seconds."""
        journal = self._journal
        journal.add(Call(self._calls, method, journal.position, self.partial_interval, pcm, **values))
        self._calls += 1
        until, made = time.monotonic() + patience, 0
        events: list[Event] = []
        while (call := journal.next) is not None and (made < 2 or time.monotonic() < until):
            try:
                if self.loading and not self._load(wait=patience == math.inf):
                    break
                events += self._make(call)
                made += 1
            except Died as death:
                events += self._again(None if self.loading else call, death.how)
        self.waiting = journal.waiting
        return events

    def _make(self, call: Call) -> list[Event]:
        """Has the process make the call; the events that are new."""
        repeats = self._journal.repeats
        self._process.send(call)
        events, at, probability, point = self._process.receive()
        if repeats:
            events = []
        else:
            self.time, self.speech_probability = at, probability
            self._reported = False
            self._restarts.progress()
            events, self._silenced = [*self._silenced, *events], []
            for event in events:
                if isinstance(event, SpeechStarted):
                    self._utterance, self._open = event.utterance, True
                elif isinstance(event, SpeechEnded):
                    self._open = False
        self._journal.answered(point, self._utterance)
        return events

    def _begin(self) -> None:
        """Starts a process."""
        self.loading, self._loading_since = True, time.monotonic()
        self._process = self._start(self._factory)

    def _load(self, *, wait: bool) -> bool:
        """Whether the process has loaded; then it also has the resume point."""
        left = max(0.0, LOAD_TIMEOUT - (time.monotonic() - self._loading_since))
        if not self._process.ready(left if wait else 0.0):
            if not wait and left:
                return False
            self._process.close()
            raise Died(f"did not load within {LOAD_TIMEOUT:.0f} s")
        interval = self._process.receive()
        if self._calls:
            self._process.send(self._journal.point)
            self._process.receive()
        else:
            self.partial_interval = interval
        self.loading = False
        return True

    def _again(self, call: Call | None, how: str) -> list[Event]:
        """Starts another process after the death of one; the audio that is given up, as events.

        Args:
            call: was not answered; None: it died while it was loading.
            how: it died, as of `Died`.
        """
        step = self._restarts.died(None if call is None else call.number, time.monotonic())
        if step == "fail":
            raise DeviceAsrError(
                f"The recognizer {how}, {self._restarts.often}; start again, and if memory is short, "
                "with a smaller model."
            )
        if not self._reported:
            self._report(f"The recognizer {how}: it starts again, and the audio is kept.")
            self._reported = True
        journal = self._journal
        journal.rewind()
        lost = journal.forgotten
        if call is not None and step == "silence" and len(call.pcm):
            self._silenced = [AudioGap(call.end / SAMPLE_RATE, journal.silence(call), REASON)]
        elif call is not None and step != "again":
            lost, self._silenced = journal.skip(call, self._utterance), []
        self._begin()
        if not lost:
            return []
        journal.forgotten = 0.0
        at = journal.point.position / SAMPLE_RATE
        ended: list[Event] = [SpeechEnded(self._utterance, at)] if self._open else []
        self._open = False
        return [*ended, AudioGap(at, lost, REASON)]


def recognizer_and_answer(factory: Callable[[], Resumable]) -> tuple[object, Answer]:
    """Runs in the process: the normal interval of partials, and what answers a ResumePoint or a Call."""
    recognizer = factory()
    sent = recognizer.resume_point

    def answer(request: ResumePoint | Call) -> object:
        nonlocal sent
        if isinstance(request, ResumePoint):
            recognizer.resume(request)
            sent = recognizer.resume_point
            return None
        recognizer.partial_interval = request.interval
        events = _answer(recognizer, request)
        before, sent = sent, recognizer.resume_point
        return events, recognizer.time, recognizer.speech_probability, None if sent is before else sent

    return recognizer.partial_interval, answer


def _answer(recognizer: Resumable, call: Call) -> list[Event]:
    if call.method == "feed":
        return recognizer.feed(call.pcm, backlog=call.backlog)
    return recognizer.gap(call.lost, call.reason) if call.method == "gap" else recognizer.finish()
