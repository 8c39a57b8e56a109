"""What a CTC head hears: letters as they are spoken, no capitals and no signs.

Symbol 0 is the blank; the others are the letters of `SYMBOLS`, in its order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from device_asr.bundle.symbols import BLANK, SYMBOLS


@dataclass(frozen=True, slots=True)
class CtcSymbol:
    """A symbol that CTC emitted, and the frame of it."""

    symbol: str
    frame: int


class GreedyCtc:
    """The best path, frame by frame: repeated symbols are one, blanks none.

    State: the last symbol and the number of frames, so that any split of the frames emits the same.
    """

    def __init__(self) -> None:
        self._last, self._frames = BLANK, 0

    def feed(self, logprobs: np.ndarray) -> list[CtcSymbol]:
        """Letters that (frames, symbols) more logarithmic probabilities, or any scores, bring."""
        found = []
        for best in logprobs.argmax(axis=1).tolist():
            if best not in (BLANK, self._last):
                found.append(CtcSymbol(SYMBOLS[best - 1], self._frames))
            self._last = best
            self._frames += 1
        return found


def greedy_text(logprobs: np.ndarray) -> str:
    """The words of the best path of (frames, symbols)."""
    return " ".join("".join(letter.symbol for letter in GreedyCtc().feed(logprobs)).split())
