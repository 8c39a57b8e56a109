"""Measures what the partials of a recognizer cost, and what each call of the method `stream` takes."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from device_asr.bundle.bundle import Bundle
from device_asr.config import Config
from device_asr.events import Seconds
from device_asr.recognition.assemble import StreamProgram, assemble
from device_asr.recognition.recognizer import StreamingRecognizer
from device_asr.runtime.session import Session

EACH_CHUNK_MS = 96  # between two updates at least: the shortest that there is, and shorter than any chunk


class TimedSession:
    """A session that keeps the `seconds` of each call of `stream`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.seconds = array("d")  # 0.1 MB an hour: memory that is looked at must not grow by looking

    def run(self, method: str, *arrays: np.ndarray) -> list[np.ndarray]:
        began = perf_counter()
        outputs = self._session.run(method, *arrays)
        if method == "stream":
            self.seconds.append(perf_counter() - began)
        return outputs


@dataclass
class TimedRecognizer:
    """A recognizer with the session of its `stream`; None: each utterance is encoded again."""

    recognizer: StreamingRecognizer
    stream: TimedSession | None
    _forgotten: Seconds = 0.0

    @property
    def partial_seconds(self) -> Seconds:
        """Spent on partials: see `StreamingRecognizer.partial_compute`."""
        return self.recognizer.partial_compute - self._forgotten

    @property
    def stream_seconds(self) -> Seconds:
        """Spent in `stream`."""
        return sum(self.chunks)

    @property
    def chunks(self) -> Sequence[Seconds]:
        """Seconds of each call of `stream`."""
        return self.stream.seconds if self.stream else ()

    def forget(self) -> None:
        """Counts from nothing again."""
        self._forgotten = self.recognizer.partial_compute
        if self.stream:
            self.stream.seconds = array("d")


def with_partials(config: Config, mode: str) -> Config:
    """The settings with partials of this mode; `stream` brings an update with every chunk."""
    interval = EACH_CHUNK_MS if mode == "stream" else config.partial.interval_ms
    return replace(config, partial=replace(config.partial, mode=mode, interval_ms=interval))


def timed_recognizer(bundle: Bundle, config: Config, stream: StreamProgram | None = None) -> TimedRecognizer:
    """A recognizer whose partials are timed; they are of `config.partial.mode`, as far as the bundle can.

    Custom words are left out, and finals come from the stream only where partials do.

    Args:
        stream: takes the place of the bundle's own method `stream`.
    """
    sessions: list[TimedSession] = []

    def timed(session: Session) -> TimedSession:
        sessions.append(TimedSession(session))
        return sessions[-1]

    final = config.final if config.partial.mode == "stream" else replace(config.final, mode="full")
    config = replace(config, final=final, decoding=replace(config.decoding, hotwords=None))
    recognizer = assemble(config, bundle=bundle, stream=stream, wrap_stream=timed)
    return TimedRecognizer(recognizer, sessions[0] if sessions else None)
