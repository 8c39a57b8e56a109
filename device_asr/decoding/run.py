"""Run and Draft: one text's way through `decode`, and the tokens that are expected of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from device_asr.decoding.cache import Caches
from device_asr.decoding.hypothesis import Encoded
from device_asr.decoding.program import DecodeProgram

REACH = 4  # draft tokens that are searched for the text's next token, besides as many as the text replaced


class Draft:
    """The expected text. After a token that differs, the text may return to it.

    rest: tokens that are expected next; empty while the text differs.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens, self._at, self._missed = list(tokens), 0, 0
        self.rest = self._tokens

    def take(self, token: int) -> None:
        """Moves behind `token` where it is among the next expected ones; otherwise the text differs."""
        near = self._tokens[self._at : self._at + REACH + self._missed]
        if token in near:
            self._at, self._missed = self._at + near.index(token) + 1, 0
            self.rest = self._tokens[self._at :]
        else:
            self._missed += 1
            self.rest = []


class Run:
    """Feeds one text to `decode`: fills its caches and keeps rows that were computed in advance.

    Args:
        caches: where to keep keys and values; they are overwritten.
    """

    def __init__(self, program: DecodeProgram, encoded: Encoded, caches: Caches) -> None:
        self._program, self._encoded, self._caches = program, encoded, caches
        self._position = 0
        self._first = len(program.vocabulary.prompt) - 1  # row that predicts the first token
        self._computed: list[tuple[int, np.ndarray]] = []  # tokens fed in advance, each with its row of logits
        self._attention: list[np.ndarray] = []

    def fork(self) -> Run:
        """Copies the run, so that two texts can go on from here; no token may have been fed in advance."""
        other = Run(self._program, self._encoded, self._caches.copy(self._position))
        other._position, other._attention = self._position, list(self._attention)
        return other

    def begin(self, pending: Sequence[int] = ()) -> np.ndarray:
        """Feeds the prompt and returns its logits (prompt, vocab).

        Args:
            pending: tokens expected next; they are fed in the same call, which saves 1 ms an utterance.
        """
        return self._feed(self._program.vocabulary.prompt, pending)

    def next_row(self, token: int, pending: Sequence[int] = ()) -> np.ndarray:
        """Logits (vocab,) after `token`; `pending` tokens behind it are fed in the same call."""
        if self._computed and self._computed[0][0] == token:
            return self._computed.pop(0)[1]
        if self._computed:  # the draft was wrong from here on: its keys and values are overwritten
            self._position -= len(self._computed)
            self._computed.clear()
        return self._feed([token], pending)[0]

    def _feed(self, tokens: Sequence[int], pending: Sequence[int]) -> np.ndarray:
        """Logits (tokens, vocab); rows of as many pending tokens as fit in the call are kept for later."""
        n, position = len(tokens), self._position
        batch = [*tokens, *pending][: min(self._program.batch, self._program.slots - position)]
        rows, alignment = self._program.step(batch, position, self._caches, self._encoded)
        del self._attention[position:]
        self._attention.extend(alignment[:, k] for k in range(len(batch)))
        self._position = position + len(batch)
        self._computed = list(zip(batch[n:], rows[n:], strict=True))
        return rows[:n]

    def attention(self, token: int) -> np.ndarray:
        """Attention (heads, positions) of the text's token number `token`, counted from 0.

        As in Whisper's timing.py, a token is aligned with the row that predicted it: the first with the
        last row of the prompt, the end with the row of the last token.
        """
        return self._attention[self._first + token]

    def alignment(self, tokens: int) -> np.ndarray:
        """Attention (heads, tokens + 1, positions) of the first tokens and the one behind them.

        The last row is zeros where no call has predicted that token.
        """
        rows = self._attention[self._first : self._first + tokens + 1]
        if len(rows) <= tokens:
            rows = [*rows, np.zeros_like(rows[0])]
        return np.stack(rows, axis=1)
