"""A peer in a process of its own.

The process separates its threads and its memory from ours, and measures its time.
"""

from __future__ import annotations

import multiprocessing
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from device_asr.bench.memory import peak_memory
from device_asr.bench.peers.kind import PeerKind, Transcriber
from device_asr.errors import DeviceAsrError
from device_asr.events import Seconds

CLOSE_TIMEOUT: Seconds = 5.0


@dataclass(frozen=True, slots=True)
class PeerResult:
    """The text of a clip, and the seconds of computation for it."""

    text: str
    compute: Seconds


class Peer:
    """A recognizer behind a pipe.

    Attributes:
        name: of its kind. version: of the library that computes. load: seconds from the process's start until it
            could transcribe.

    Raises:
        DeviceAsrError: not installed, or its process failed; also from `transcribe`.
    """

    def __init__(self, kind: PeerKind, threads: int) -> None:
        folder = kind.folder()
        self._kind, self.name = kind, kind.name
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, kind, folder, threads), name="peer", daemon=True)
        began = perf_counter()
        self._process.start()
        theirs.close()
        self.version: str = self._answer()
        self.load: Seconds = perf_counter() - began

    def transcribe(self, pcm: np.ndarray) -> PeerResult:
        """The text of (n,) float32 at 16 kHz."""
        result = self._ask(pcm)
        assert isinstance(result, PeerResult)
        return result

    def peak_memory(self) -> int | None:
        """Peak of the resident bytes of its process."""
        peak = self._ask(None)
        assert peak is None or isinstance(peak, int)
        return peak

    def record(self) -> dict[str, Any]:
        """The entry of the benchmark's record."""
        return {
            "version": self.version,
            "compute_type": self._kind.compute_type,
            "load_s": self.load,
            "peak_memory_bytes": self.peak_memory(),
        }

    def close(self) -> None:
        """Ends the process; idempotent."""
        self._connection.close()
        self._process.join(CLOSE_TIMEOUT)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _ask(self, request: np.ndarray | None) -> Any:
        try:
            self._connection.send(request)
        except OSError:
            raise self._ended() from None
        return self._answer()

    def _answer(self) -> Any:
        try:
            answer = self._connection.recv()
        except (EOFError, OSError):
            raise self._ended() from None
        if isinstance(answer, BaseException):
            self.close()
            raise answer
        return answer

    def _ended(self) -> DeviceAsrError:
        self._process.join(CLOSE_TIMEOUT)
        return DeviceAsrError(
            f"The process of {self.name} ended with exit code {self._process.exitcode}; "
            f"measure without --peer {self.name}, or with fewer --threads if memory is short."
        )


def _serve(connection: Connection, kind: PeerKind, folder: Path, threads: int) -> None:
    """Runs in the process: loads, sends the version, then answers one clip after another."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent closes the pipe
    try:
        peer = kind.load(folder, threads)
        connection.send(peer.version)
        while True:
            pcm = connection.recv()
            connection.send(peak_memory() if pcm is None else _transcribe(peer, pcm))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Exception as error:
        connection.send(
            DeviceAsrError(f"{kind.name} failed: {type(error).__name__}: {error}; measure without --peer {kind.name}.")
        )


def _transcribe(peer: Transcriber, pcm: np.ndarray) -> PeerResult:
    began = perf_counter()
    text = peer.transcribe(pcm)
    return PeerResult(text, perf_counter() - began)
