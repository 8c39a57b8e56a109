"""What is decoded, and what it is decoded from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, slots=True)
class Encoded:
    """An utterance after `encode`: keys and values for every layer, positions of 20 ms, seconds of audio."""

    cross: tuple[np.ndarray, ...]
    positions: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What was decoded.

    tokens: text ids, end token left out. logprobs: one a token. no_speech: probability in [0, 1].
    alignment: (heads, tokens + 1, positions) attention of the alignment heads, end token included.
    looped: a guard cut the text. ending: log-probability of the end behind the tokens; 0: it was not sought.
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    no_speech: float
    alignment: np.ndarray
    looped: bool
    ending: float = 0.0

    @property
    def mean_logprob(self) -> float:
        """Mean log-probability of a token; 0 for no tokens."""
        return sum(self.logprobs) / len(self.logprobs) if self.logprobs else 0.0

    def behind(self, before: Hypothesis, count: int, positions: int) -> Hypothesis:
        """This one of a later part of the utterance with the first tokens of one `before`.

        Args:
            count: tokens of `before`. positions: of the utterance that lie before this one's; no token attends to them.
        """
        width = positions + self.alignment.shape[2]
        alignment = np.zeros((self.alignment.shape[0], count + self.alignment.shape[1], width), np.float32)
        alignment[:, count:, positions:] = self.alignment
        return replace(
            self,
            tokens=before.tokens[:count] + self.tokens,
            logprobs=before.logprobs[:count] + self.logprobs,
            alignment=alignment,
        )

    def first(self, count: int) -> Hypothesis:
        """Its first tokens; the last row of the alignment is then that of the token behind them."""
        return replace(
            self, tokens=self.tokens[:count], logprobs=self.logprobs[:count], alignment=self.alignment[:, : count + 1]
        )
