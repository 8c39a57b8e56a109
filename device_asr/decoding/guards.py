"""Guards: rules that stop loops and drop text where nobody spoke."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from device_asr.bundle.vocabulary import Vocabulary
from device_asr.config import DecodingConfig
from device_asr.decoding.hypothesis import Hypothesis

SPARE_TOKENS = 8  # a very short utterance may still be a few tokens
LONGEST_NGRAM = 8  # tokens; longer loops are left to the compression ratio
SHORTEST_LOOP = 40  # bytes; a shorter text may well repeat itself


@dataclass(frozen=True, slots=True)
class Guards:
    """The rules with the limits of `config`; where `config.guards` is off, they let everything pass.

    tokens_per_second: the model's own limit, where `config` has none.
    """

    config: DecodingConfig
    vocabulary: Vocabulary
    tokens_per_second: float

    def token_limit(self, seconds: float, capacity: int) -> int:
        """Largest number of tokens of a text: the caches' `capacity`, or what can be said in `seconds`, if fewer."""
        if not self.config.guards:
            return capacity
        rate = self.config.tokens_per_second or self.tokens_per_second
        return min(capacity, math.ceil(rate * seconds) + SPARE_TOKENS)

    def repeats(self, tokens: Sequence[int]) -> int:
        """Number of surplus repeated tokens at the end; 0: none."""
        if not self.config.guards:
            return 0
        times = self.config.repeat_ngram
        for n in range(1, LONGEST_NGRAM + 1):
            if len(tokens) >= n * times and all(tokens[-n:] == tokens[-n * (k + 1) : -n * k] for k in range(1, times)):
                return n * (times - 1)
        return 0

    def compresses(self, tokens: Sequence[int]) -> bool:
        """Whether zlib shrinks the text so much that it is a loop."""
        text = self.vocabulary.bytes_of(tokens)
        long = self.config.guards and len(text) > SHORTEST_LOOP
        return long and len(text) / len(zlib.compress(text)) > self.config.compression_ratio

    def is_speech(self, hypothesis: Hypothesis) -> bool:
        """Whether to believe the text: it is not empty, and not doubtful where the network reports no speech.

        Where the vocabulary has no token for no speech, a doubtful text is not believed either.
        """
        if not hypothesis.tokens or not self.vocabulary.decode(hypothesis.tokens).strip():
            return False
        if not self.config.guards:
            return True
        silent = self.vocabulary.no_speech is None or hypothesis.no_speech > self.config.no_speech
        return not (silent and hypothesis.mean_logprob < self.config.min_logprob)
