"""What the partials of a recognizer cost: its policy and its session, with the seconds that were spent in them."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np

from device_asr.bundle.bundle import Bundle
from device_asr.config import Config
from device_asr.decoding.decoder import Decoder
from device_asr.decoding.hypothesis import Encoded
from device_asr.events import Seconds
from device_asr.recognition.align_att import Partials, Reencoding, Shown, Streaming, capacity
from device_asr.recognition.recognizer import StreamingRecognizer
from device_asr.recognition.stream_encoder import StreamEncoder
from device_asr.recognition.vad import VoiceActivityDetector
from device_asr.runtime.session import Session

EACH_CHUNK_MS = 96  # between two updates at least: the shortest that there is, and shorter than any chunk


class TimedPartials:
    """A policy that counts its own `seconds`: hearing and updates; not what the final asks of it."""

    def __init__(self, policy: Partials) -> None:
        self._policy = policy
        self.seconds: Seconds = 0.0

    @contextmanager
    def _counted(self) -> Iterator[None]:
        began = perf_counter()
        yield
        self.seconds += perf_counter() - began

    @property
    def draft(self) -> tuple[int, ...]:
        return self._policy.draft

    @property
    def favored(self) -> bool:
        return self._policy.favored

    def begin(self, audio: np.ndarray) -> None:
        with self._counted():
            self._policy.begin(audio)

    def hear(self, frame: np.ndarray) -> None:
        with self._counted():
            self._policy.hear(frame)

    def due(self, since: Seconds, interval: Seconds) -> bool:
        with self._counted():  # it may hear a part of a chunk
            return self._policy.due(since, interval)

    def update(self, audio: Callable[[], np.ndarray], pause: Seconds) -> Shown | None:
        with self._counted():
            return self._policy.update(audio, pause)

    def end(self) -> None:
        self._policy.end()

    def frames(self, samples: int) -> Encoded | None:
        return self._policy.frames(samples)

    def heard_nothing(self) -> bool:
        return self._policy.heard_nothing()

    def last_heard(self) -> float | None:
        return self._policy.last_heard()


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


@dataclass(frozen=True)
class TimedRecognizer:
    """A recognizer, its policy, and the session of `stream`; None: each utterance is encoded again."""

    recognizer: StreamingRecognizer
    partials: TimedPartials
    stream: TimedSession | None

    @property
    def stream_seconds(self) -> Seconds:
        """Spent in `stream`."""
        return sum(self.chunks)

    def forget(self) -> None:
        """Counts from nothing again."""
        self.partials.seconds = 0.0
        if self.stream:
            self.stream.seconds = array("d")

    @property
    def chunks(self) -> Sequence[Seconds]:
        """What each chunk through `stream` took."""
        return self.stream.seconds if self.stream else ()


def with_partials(config: Config, mode: str) -> Config:
    """The settings with partials of this mode; `stream` brings an update with every chunk."""
    interval = EACH_CHUNK_MS if mode == "stream" else config.partial.interval_ms
    return replace(config, partial=replace(config.partial, mode=mode, interval_ms=interval))


def timed_recognizer(
    bundle: Bundle, config: Config, program: tuple[Mapping[str, Any], Session] | None = None
) -> TimedRecognizer:
    """A recognizer that is looked at; its partials are those of `config.partial.mode`, as far as the bundle can.

    Args:
        program: description and session of a method `stream` that takes the place of the bundle's own.
    """
    threads = config.model.threads
    session = bundle.session("speech", threads)
    detector, decoder = VoiceActivityDetector(bundle.session("vad", threads)), Decoder(bundle, session, config.decoding)
    method, session = program or (bundle.manifest["programs"]["speech"]["methods"].get("stream"), session)
    if method is None or config.partial.mode != "stream":
        partials, stream = TimedPartials(Reencoding(decoder, config.partial)), None
    else:
        stream = TimedSession(session)
        partials = TimedPartials(Streaming(decoder, StreamEncoder(method, stream, capacity(config)), config.partial))
    return TimedRecognizer(StreamingRecognizer(detector, decoder, config, partials), partials, stream)
