"""The last frames of audio, and whether speech was in them."""

from __future__ import annotations

import numpy as np

from device_asr.recognition.vad import FRAME


class _Window:
    """The last frames of audio and whether speech was heard in them; frames are counted from 0."""

    def __init__(self, frames: int) -> None:
        self._audio = np.zeros((frames, FRAME), np.float32)
        self._active = np.zeros(frames, bool)
        self._next = 0

    def push(self, frame: np.ndarray, active: bool) -> None:
        slot = self._next % len(self._audio)
        self._audio[slot], self._active[slot] = frame, active
        self._next += 1

    def _slots(self, start: int, end: int) -> np.ndarray:
        return np.arange(max(start, self._next - len(self._audio)), min(end, self._next)) % len(self._audio)

    def audio(self, start: int, end: int) -> np.ndarray:
        """(n,) float32 of frames start..end."""
        return self._audio[self._slots(start, end)].reshape(-1)

    def activity(self, start: int, end: int) -> list[bool]:
        """One value a frame."""
        return self._active[self._slots(start, end)].tolist()
