"""A recognizer in a process of its own, behind the same interface.

ExecuTorch's Python binding holds the interpreter's lock while a method runs (another thread stood still
for 0.44 s), so an interface in the same process freezes with every encoding. Besides, torch is imported
and the model loaded while the interface starts, and a crash in native code becomes a sentence instead of
the end of the session.
"""

from __future__ import annotations

import functools
import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from device_asr.config import Config
from device_asr.errors import DeviceAsrError
from device_asr.events import Event, Seconds
from device_asr.recognition.protocol import Recognizer

CLOSE_TIMEOUT: Seconds = 5.0


def load(config: Config) -> RemoteRecognizer:
    """The recognizer of `assemble(config)` in a process of its own; raises BundleError as `assemble` does."""
    return RemoteRecognizer(functools.partial(_streaming_recognizer, config))


def _streaming_recognizer(config: Config) -> Recognizer:
    from device_asr.recognition.assemble import assemble

    return assemble(config)


class RemoteRecognizer:
    """A `Recognizer` whose work is done by the process `recognizer`.

    Args:
        factory: makes the recognizer there; it is pickled.

    Raises:
        DeviceAsrError: what `factory` raised, or the process ended; also from every method.
    """

    def __init__(self, factory: Callable[[], Recognizer]) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy PortAudio's threads half-way
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, factory), name="recognizer", daemon=True)
        self._process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        self.time = self.speech_probability = 0.0
        self.partial_interval: Seconds | None = None
        _, self.partial_interval = self._answer()

    def feed(self, pcm: np.ndarray, *, backlog: float = 0.0) -> list[Event]:
        """See `Recognizer.feed`."""
        return self._ask("feed", pcm, backlog=backlog)

    def gap(self, lost: float, reason: str = "overflow") -> list[Event]:
        """See `Recognizer.gap`."""
        return self._ask("gap", lost, reason)

    def finish(self) -> list[Event]:
        """See `Recognizer.finish`."""
        return self._ask("finish")

    def close(self) -> None:
        """Ends the process; idempotent."""
        self._connection.close()
        self._process.join(CLOSE_TIMEOUT)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _ask(self, method: str, *args: Any, **kwargs: Any) -> list[Event]:
        try:
            self._connection.send((self.partial_interval, method, args, kwargs))
        except OSError:
            raise self._ended() from None
        events, _ = self._answer()
        return events

    def _answer(self) -> tuple[list[Event], Seconds | None]:
        try:
            answer = self._connection.recv()
        except (EOFError, OSError):
            raise self._ended() from None
        if isinstance(answer, BaseException):
            self.close()
            raise answer
        events, self.time, self.speech_probability, interval = answer
        return events, interval

    def _ended(self) -> DeviceAsrError:
        self._process.join(CLOSE_TIMEOUT)
        code = self._process.exitcode or 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        return DeviceAsrError(
            f"The recognizer's process {how}; start again, and if memory is short, with a smaller model."
        )


def _serve(connection: Connection, factory: Callable[[], Recognizer]) -> None:
    """Runs in the process: answers one request after another until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the session decides
    if hasattr(signal, "SIGHUP"):
        # so does the signal of a closed terminal; the end of the pipe ends this process
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        recognizer = factory()
        connection.send(([], recognizer.time, recognizer.speech_probability, recognizer.partial_interval))
        while True:
            interval, method, args, kwargs = connection.recv()
            recognizer.partial_interval = interval
            events = getattr(recognizer, method)(*args, **kwargs)
            connection.send((events, recognizer.time, recognizer.speech_probability, interval))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except DeviceAsrError as error:
        connection.send(error)
    except Exception as error:
        connection.send(DeviceAsrError(f"The recognizer failed: {type(error).__name__}: {error}."))
