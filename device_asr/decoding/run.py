"""One utterance on its way through `decode`: its caches, what was fed ahead, and what its tokens attended to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from device_asr.decoding.cache import Caches

if TYPE_CHECKING:
    from device_asr.decoding.decoder import Decoder
    from device_asr.decoding.hypothesis import Encoded

REACH = 4  # tokens of a draft among which one is sought that the text goes on with, besides as many as were replaced


class Draft:
    """What is expected to come, taken up again where a word was heard otherwise.

    rest: tokens that are expected next; none while the text is another one.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens, self._at, self._missed = list(tokens), 0, 0
        self.rest = self._tokens

    def take(self, token: int) -> None:
        """The text goes on with `token`: one of the next expected ones, or another one."""
        near = self._tokens[self._at : self._at + REACH + self._missed]
        if token in near:
            self._at, self._missed = self._at + near.index(token) + 1, 0
            self.rest = self._tokens[self._at :]
        else:
            self._missed += 1
            self.rest = []


class Run:
    """Fills the caches, remembers what was computed ahead."""

    def __init__(self, decoder: Decoder, encoded: Encoded, caches: Caches) -> None:
        self._decoder, self._encoded, self._caches = decoder, encoded, caches
        self._position = 0
        self._first = len(decoder.vocabulary.prompt) - 1  # row that predicts the first token
        self._ahead: list[tuple[int, np.ndarray]] = []  # (token that was fed, the row it gave)
        self._attention: list[np.ndarray] = []

    def fork(self) -> Run:
        """Another one that goes on from here by itself; nothing may have been fed ahead."""
        other = Run(self._decoder, self._encoded, self._caches.copy(self._position))
        other._position, other._attention = self._position, list(self._attention)
        return other

    def begin(self, prompt: Sequence[int], pending: Sequence[int] = ()) -> np.ndarray:
        """Logits (prompt, vocab); the pending ones are fed in the same call, which saves 1 ms an utterance."""
        return self._speculate(prompt, pending)

    def next_row(self, token: int, pending: Sequence[int] = ()) -> np.ndarray:
        """Logits after `token`; what is `pending` behind it is fed in the same call."""
        if self._ahead and self._ahead[0][0] == token:
            return self._ahead.pop(0)[1]
        if self._ahead:  # the draft was wrong from here on: its keys and values are overwritten
            self._position -= len(self._ahead)
            self._ahead.clear()
        return self._speculate([token], pending)[0]

    def _speculate(self, tokens: Sequence[int], pending: Sequence[int]) -> np.ndarray:
        """Logits (tokens, vocab); those of what is pending, as much as one call takes, are kept ahead."""
        n, position = len(tokens), self._position
        batch = [*tokens, *pending][: min(self._decoder.batch, self._decoder.slots - position)]
        rows, alignment = self._decoder.step(batch, position, self._caches, self._encoded)
        del self._attention[position:]
        self._attention.extend(alignment[:, k] for k in range(len(batch)))
        self._position = position + len(batch)
        self._ahead = list(zip(batch[n:], rows[n:], strict=True))
        return rows[:n]

    def attention(self, token: int) -> np.ndarray:
        """(heads, positions) of a token's, counted from 0.

        As in Whisper's timing.py, a token is aligned with the row that predicted it: the first with the
        last row of the prompt, the end with the row of the last token.
        """
        return self._attention[self._first + token]

    def alignment(self, tokens: int) -> np.ndarray:
        """(heads, tokens + 1, positions): of each token and of the end, zeros where none was sought."""
        rows = self._attention[self._first : self._first + tokens + 1]
        if len(rows) <= tokens:
            rows = [*rows, np.zeros_like(rows[0])]
        return np.stack(rows, axis=1)
