"""The input and the result of decoding: an encoded utterance and a hypothesis."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from device_asr.decoding.cache import Caches


@dataclass(frozen=True, slots=True)
class Encoded:
    """An encoded utterance.

    cross: keys (heads, head_dim, positions) and values (heads, positions, head_dim) of the decoder's cross-attention.
    positions: their number. seconds: the audio's duration. spoken: whether the voice activity detector found speech
    in it, so that its text should not be empty.
    """

    cross: Caches
    positions: int
    seconds: float
    spoken: bool = False


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A decoded text.

    tokens: text ids without the end token. logprobs: one per token. no_speech: probability in [0, 1].
    alignment: (heads, tokens + 1, positions) attention of the alignment heads, end token included.
    looped: whether a guard cut the text. ending: log-probability of the end token behind the text; 0 where the
    search stopped before it.
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
        """Prepends the first `count` tokens of `before` to this hypothesis of a later part of the utterance.

        Args:
            positions: how many of the utterance's positions lie before this part; its tokens attend to none of them.
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
        """Keeps the first `count` tokens; the alignment's last row is then that of the token behind them."""
        return replace(
            self, tokens=self.tokens[:count], logprobs=self.logprobs[:count], alignment=self.alignment[:, : count + 1]
        )
