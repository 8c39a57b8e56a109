"""Voice activity: the probability of speech in each 32 ms step, from the bundle's program "vad" (Silero)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from device_asr.bundle.method import Method
from device_asr.bundle.roles import PCM, PROBABILITY


class VoiceActivityDetector:
    """Runs the method `step` on one frame after another.

    state: what it keeps of the audio so far, by role; replaced and never changed in place.
    """

    def __init__(self, step: Method) -> None:
        self._step = step
        self.reset()

    def reset(self) -> None:
        """Forgets the audio so far."""
        self.state: Mapping[str, np.ndarray] = self._step.state()

    def __call__(self, frame: np.ndarray) -> float:
        """Probability in [0, 1] that `frame`, (512,) float32, holds speech."""
        outputs = self._step({PCM: np.ascontiguousarray(frame[None]), **self.state})
        self.state = {role: outputs[role] for role in self.state}
        return float(outputs[PROBABILITY].reshape(-1)[0])
