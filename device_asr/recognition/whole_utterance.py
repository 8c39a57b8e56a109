"""The encoder of models without the method `stream`: it keeps nothing, and finished utterances are encoded whole."""

from __future__ import annotations

import numpy as np

from device_asr.decoding.hypothesis import Encoded
from device_asr.events import Seconds


class WholeUtterance:
    """An `UtteranceEncoder` that does nothing: whoever wants the utterance encodes its audio."""

    def begin(self, audio: np.ndarray) -> None:
        """Keeps nothing."""

    def feed(self, frame: np.ndarray) -> None:
        """Keeps nothing."""

    def end(self) -> None:
        """Keeps nothing."""

    def encoded(self, samples: int) -> Encoded | None:
        """None: nothing is kept."""
        return None

    def no_voice(self) -> bool:
        """False: there is no evidence."""
        return False

    def last_voice(self) -> Seconds | None:
        """None: there is no evidence."""
        return None
