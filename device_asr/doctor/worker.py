"""Runs a candidate with the real recognizer in a process of its own, as live dictation does.

A crash in native code is then a sentence and not the end of the examination, and the peak memory of the process is
what the recognizer needs. Live dictation's own `RemoteRecognizer` starts a dead process again, which would be
measured as speed; here a death ends the run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np

from device_asr.bench.memory import peak_memory
from device_asr.child import Answer, Child, Died
from device_asr.config import Config
from device_asr.doctor.measure import Candidate, Run, run
from device_asr.errors import DeviceAsrError
from device_asr.events import Event, Seconds


class Isolated:
    """A recognizer in a process of its own, as far as `device_asr.doctor.measure.run` needs one.

    Raises:
        BundleError: the model is missing or damaged, or no runtime can be loaded.
        DeviceAsrError: the process ended; also from `feed`.
    """

    def __init__(self, config: Config) -> None:
        self._child = Child("recognizer", functools.partial(_serve, config))
        try:
            self.partial_interval: Seconds | None = self._receive()
        except BaseException:  # Ctrl-C while it loads
            self._child.close()
            raise

    @property
    def memory(self) -> int | None:
        """Peak bytes of the process; None: not known."""
        return peak_memory(self.pid) if self.pid else None

    @property
    def pid(self) -> int | None:
        """Of the process."""
        return self._child.pid

    def feed(self, pcm: np.ndarray, *, backlog: Seconds = 0.0) -> list[Event]:
        """See `Recognizer.feed`."""
        try:
            self._child.send((self.partial_interval, pcm, backlog))
        except Died as death:
            raise _dead(death) from None
        events: list[Event] = self._receive()
        return events

    def close(self) -> None:
        """Ends the process."""
        self._child.close()

    def _receive(self) -> Any:
        try:
            return self._child.receive()
        except Died as death:
            raise _dead(death) from None


def attempt(
    config: Config,
    candidate: Candidate,
    pcm: np.ndarray,
    limit: Seconds,
    clock: Callable[[], float] = perf_counter,
    progress: Callable[[float], None] | None = None,
) -> Run:
    """Loads the recognizer with the candidate's settings, and measures it; see `device_asr.doctor.measure.run`.

    Raises:
        BundleError, DeviceAsrError: see `Isolated`.
    """
    began = clock()
    recognizer = Isolated(candidate.applied(config))
    load = clock() - began
    try:
        measured = run(recognizer, candidate, pcm, limit, clock, progress)
        memory = recognizer.memory
    finally:
        recognizer.close()
    return replace(measured, load=load, memory=memory)


def _dead(death: Died) -> DeviceAsrError:
    return DeviceAsrError(
        f"The recognizer {death.how} while it was measured; end other programs, or install device-asr again."
    )


def _serve(config: Config) -> tuple[object, Answer]:
    """Runs in the process: the normal interval of partials, and what feeds the recognizer."""
    from device_asr.recognition.assemble import assemble

    recognizer = assemble(config)

    def answer(request: tuple[Seconds | None, np.ndarray, Seconds]) -> object:
        recognizer.partial_interval, pcm, backlog = request
        return recognizer.feed(pcm, backlog=backlog)

    return recognizer.partial_interval, answer
