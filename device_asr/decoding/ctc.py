"""Greedy CTC decoding: the symbols of `device_asr.bundle.symbols`, without capitals and punctuation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from device_asr.bundle.symbols import BLANK, collapse


@dataclass(frozen=True, slots=True)
class CtcSymbol:
    """A symbol that the CTC head emitted, and its frame."""

    symbol: str
    frame: int


class GreedyCtc:
    """The best path, frame by frame: repeated symbols are one, blanks none.

    State: the last id and the number of frames, so that any split of the frames emits the same symbols.
    """

    def __init__(self) -> None:
        self._last, self._frames = BLANK, 0

    def feed(self, logprobs: np.ndarray) -> list[CtcSymbol]:
        """The symbols that further frames emit.

        Args:
            logprobs: (frames, symbols) log-probabilities, or any scores.
        """
        best = logprobs.argmax(axis=1).tolist()
        found = [CtcSymbol(symbol, self._frames + k) for k, symbol in collapse(best, self._last)]
        self._last = best[-1] if best else self._last
        self._frames += len(best)
        return found
