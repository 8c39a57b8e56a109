"""The last frames of audio, and whether the voice activity detector found speech in them."""

from __future__ import annotations

import numpy as np

from device_asr.audio.format import STEP


class Window:
    """A ring of the last frames of 32 ms, each with its voice activity; frames are counted from 0."""

    def __init__(self, frames: int) -> None:
        self._audio = np.zeros((frames, STEP), np.float32)
        self._active = np.zeros(frames, bool)
        self._next = 0

    def push(self, frame: np.ndarray, active: bool) -> None:
        """Appends a frame, (512,) float32, and whether it is speech; the oldest one is dropped."""
        slot = self._next % len(self._audio)
        self._audio[slot], self._active[slot] = frame, active
        self._next += 1

    def _slots(self, start: int, end: int) -> np.ndarray:
        return np.arange(max(start, self._next - len(self._audio)), min(end, self._next)) % len(self._audio)

    def audio(self, start: int, end: int) -> np.ndarray:
        """(n,) float32: the frames from `start` up to `end`, those excluded that are no longer kept."""
        return self._audio[self._slots(start, end)].reshape(-1)

    def tail(self, start: int) -> tuple[np.ndarray, np.ndarray]:
        """The frames from `start` on, (n, 512) float32, and the voice activity of each, (n,) bool."""
        slots = self._slots(start, self._next)
        return self._audio[slots], self._active[slots]

    def clear(self) -> None:
        """Forgets all frames, and counts from 0 again."""
        self._next = 0

    def restore(self, audio: np.ndarray, activity: np.ndarray, end: int) -> None:
        """Takes what `tail` gave when `end` frames had been pushed."""
        self._next = end - len(audio)
        for frame, active in zip(audio, activity, strict=True):
            self.push(frame, bool(active))

    def activity(self, start: int, end: int) -> list[bool]:
        """For each of these frames whether it is speech."""
        return self._active[self._slots(start, end)].tolist()
