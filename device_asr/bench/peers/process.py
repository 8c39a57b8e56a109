"""A peer in a process of its own.

The process separates its threads and its memory from ours, and measures its time.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from device_asr.bench.memory import peak_memory
from device_asr.bench.peers.kind import PeerKind, Transcriber
from device_asr.child import Answer, Child, Died
from device_asr.errors import DeviceAsrError
from device_asr.events import Seconds


@dataclass(frozen=True, slots=True)
class PeerResult:
    """The text of a clip, and the seconds of computation for it."""

    text: str
    compute: Seconds


class Peer:
    """A recognizer in a process of its own.

    Attributes:
        name: of its kind. version: of the library that computes. load: seconds from the process's start until it
            could transcribe.

    Raises:
        DeviceAsrError: not installed, or its process failed; also from `transcribe`.
    """

    def __init__(self, kind: PeerKind, threads: int) -> None:
        folder = kind.folder()
        self._kind, self.name = kind, kind.name
        began = perf_counter()
        self._process = Child("peer", functools.partial(_version_and_answer, kind, folder, threads))
        self.version: str = self._receive()
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
        self._process.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _ask(self, request: np.ndarray | None) -> Any:
        with self._sentence():
            self._process.send(request)
        return self._receive()

    def _receive(self) -> Any:
        with self._sentence():
            return self._process.receive()

    @contextmanager
    def _sentence(self) -> Iterator[None]:
        """Says what to do about the end of the process."""
        try:
            yield
        except Died as death:
            raise DeviceAsrError(
                f"{self.name} {death.how}; measure without --peer {self.name}, "
                "or with fewer --threads if memory is short."
            ) from None


def _version_and_answer(kind: PeerKind, folder: Path, threads: int) -> tuple[object, Answer]:
    """Runs in the process: the version, and what answers one clip after another; None asks for the peak memory."""
    peer = kind.load(folder, threads)
    return peer.version, lambda pcm: peak_memory() if pcm is None else _transcribe(peer, pcm)


def _transcribe(peer: Transcriber, pcm: np.ndarray) -> PeerResult:
    began = perf_counter()
    text = peer.transcribe(pcm)
    return PeerResult(text, perf_counter() - began)
