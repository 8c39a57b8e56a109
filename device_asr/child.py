"""A process that answers requests, behind a pipe: the recognizer of a live session, the benchmark's peer.

It ends when its parent does, because the pipe ends then, and its death is noticed at once, for the same reason.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from device_asr.errors import DeviceAsrError
from device_asr.events import Seconds

CLOSE_TIMEOUT: Seconds = 5.0
POLITE_SIGNALS = ("SIGINT", "SIGHUP")  # Ctrl-C and a closed terminal reach the whole group; the parent decides

Answer = Callable[[Any], object]


class Died(DeviceAsrError):
    """The process is no more; `how` is the end of a sentence about it: "was ended by SIGKILL"."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class Child:
    """Runs `make` in a process of its own, sends requests and receives answers.

    Args:
        name: of the process.
        make: called there; gives its first answer and the function that answers requests. It is pickled.
    """

    def __init__(self, name: str, make: Callable[[], tuple[object, Answer]]) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy PortAudio's threads half-way
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make), name=name, daemon=True)
        self._answered = False
        with _polite_signals_blocked(), _safe_path():
            self._process.start()
        theirs.close()  # so that the end of the process is the end of the pipe

    @property
    def pid(self) -> int | None:
        """Of the process."""
        return self._process.pid

    def ready(self, timeout: Seconds | None = 0.0) -> bool:
        """Whether an answer, or the end of the process, is there within `timeout` seconds; None: waits for it."""
        try:
            return self._connection.poll(timeout)
        except OSError:  # the pipe is broken: `receive` says how
            return True

    def send(self, request: object) -> None:
        """Hands over a request.

        Raises:
            Died: the process is no more.
        """
        try:
            self._connection.send(request)
        except OSError:
            raise self._end() from None

    def receive(self) -> Any:
        """Waits for the next answer.

        Raises:
            Died: the process is no more; also where anything but a DeviceAsrError was raised in it.
            DeviceAsrError: raised in the process, which has ended.
        """
        try:
            answer = self._connection.recv()
        except (EOFError, OSError):
            raise self._end() from None
        if isinstance(answer, BaseException):
            self.close()
            raise answer
        self._answered = True
        return answer

    def close(self) -> None:
        """Ends the process; idempotent."""
        self._connection.close()
        if not self._answered:
            self._process.kill()  # it would notice the end of the pipe when it has loaded, and not before
        self._process.join(CLOSE_TIMEOUT)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _end(self) -> Died:
        self._answered = True  # or could have: it ends by itself
        self.close()
        code = self._process.exitcode or 0
        return Died(f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}")


class _polite_signals_blocked:
    """Blocks the signals of a terminal in this thread; a process that is started meanwhile begins with them blocked."""

    def __enter__(self) -> None:
        self._before = None
        if hasattr(signal, "pthread_sigmask"):
            wanted = {getattr(signal, name) for name in POLITE_SIGNALS}
            self._before = signal.pthread_sigmask(signal.SIG_BLOCK, wanted)

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._before)


@contextmanager
def _safe_path() -> Iterator[None]:
    """Lets a process that is started meanwhile import nothing from the current folder.

    Python is started there with -c, which looks in the current folder first: a file pickle.py in it would be run.
    """
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


def _serve(connection: Connection, make: Callable[[], tuple[object, Answer]]) -> None:
    """Runs in the process: answers one request after another until the pipe ends."""
    for name in POLITE_SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        first, answer = make()
        connection.send(first)
        while True:
            connection.send(answer(connection.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except DeviceAsrError as error:
        connection.send(error)
    except Exception as error:
        connection.send(Died(f"failed: {type(error).__name__}: {error}"))
