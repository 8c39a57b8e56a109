"""Voice activity: the probability of speech in each 32 ms frame, from the bundle's VAD program (Silero)."""

from __future__ import annotations

import numpy as np

from device_asr.runtime.session import Session

CONTEXT = 64  # samples of the previous frame that the network also sees


class VoiceActivityDetector:
    """Runs the method `step` frame after frame and keeps its state."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.reset()

    def reset(self) -> None:
        """Forgets the frames so far."""
        self._context = np.zeros((1, CONTEXT), np.float32)
        self._hidden = np.zeros((1, 128), np.float32)
        self._cell = np.zeros((1, 128), np.float32)

    def __call__(self, frame: np.ndarray) -> float:
        """Probability in [0, 1] that `frame`, (512,) float32, holds speech."""
        probability, self._context, self._hidden, self._cell = self._session.run(
            "step", np.ascontiguousarray(frame[None]), self._context, self._hidden, self._cell
        )
        return float(probability.reshape(-1)[0])
