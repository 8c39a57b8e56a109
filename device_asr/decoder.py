"""Autoregressive decoding with cached keys and values, drafts, and guards against loops."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from device_asr.bundle import Bundle
from device_asr.config import DecodingConfig

SAMPLE_RATE = 16_000
SPARE_TOKENS = 8  # a very short phrase may still be a few tokens
LONGEST_NGRAM = 8  # tokens; longer loops are left to the compression ratio
REACH = 4  # tokens of a draft among which one is sought that the text goes on with, besides as many as were replaced
RETRY_PADDING_S = 4.0  # silence added where a loop was heard: the teacher stops when it sees an end


@dataclass(frozen=True, slots=True)
class Encoded:
    """A phrase after `encode`: keys and values for every layer, positions of 20 ms, seconds of sound."""

    cross: tuple[np.ndarray, ...]
    positions: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What was decoded.

    tokens: text ids, end token left out. logprobs: one a token. no_speech: probability in [0, 1].
    alignment: (heads, tokens + 1, positions) attention of the alignment heads, end token included.
    looped: a guard cut the text.
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    no_speech: float
    alignment: np.ndarray
    looped: bool

    @property
    def mean_logprob(self) -> float:
        """Mean log-probability of a token; 0 for no tokens."""
        return sum(self.logprobs) / len(self.logprobs) if self.logprobs else 0.0

    def behind(self, before: Hypothesis, count: int, positions: int) -> Hypothesis:
        """This one of a later part of the phrase with the first tokens of one `before`.

        Args:
            count: tokens of `before`. positions: of the phrase that lie before this one's; no token attends to them.
        """
        width = positions + self.alignment.shape[2]
        alignment = np.zeros((self.alignment.shape[0], count + self.alignment.shape[1], width), np.float32)
        alignment[:, count:, positions:] = self.alignment
        return replace(self, tokens=before.tokens[:count] + self.tokens,
                       logprobs=before.logprobs[:count] + self.logprobs, alignment=alignment)

    def first(self, count: int) -> Hypothesis:
        """Its first tokens; the last row of the alignment is then that of the token behind them."""
        return replace(self, tokens=self.tokens[:count], logprobs=self.logprobs[:count],
                       alignment=self.alignment[:, : count + 1])


class Decoder:
    """Greedy decoding through the bundle's `encode` and `decode`."""

    def __init__(self, bundle: Bundle, session: Any, config: DecodingConfig) -> None:
        self._session, self._config = session, config
        self.vocabulary = bundle.vocabulary()
        speech = bundle.manifest["speech"]
        self._granule = int(speech["samples_per_position"])
        self._positions = int(speech["positions"])
        self._cache = int(speech["cache"])
        self._batch = int(speech["tokens_per_call"])
        layers = speech["layers"]
        self._layers = len(layers)
        self._keys = [np.zeros((x["heads"], x["head_dim"], self._cache), np.float32) for x in layers]
        self._values = [np.zeros((x["heads"], self._cache, x["head_dim"]), np.float32) for x in layers]
        ids = int(bundle.manifest["programs"]["speech"]["methods"]["decode"]["outputs"][0]["shape"][1])
        self._penalty = np.full(ids, -np.inf, np.float32)  # a teacher's time stamps are ids too, and never text
        self._penalty[: len(self.vocabulary.pieces)] = 0.0
        self._penalty[self.vocabulary.end] = 0.0
        self._penalty[list(self.vocabulary.suppress)] = -np.inf
        self._first_penalty = self._penalty.copy()
        self._first_penalty[list(self.vocabulary.suppress_first)] = -np.inf

    def encode(self, pcm: np.ndarray) -> Encoded:
        """Encodes (n,) float32 at 16 kHz, n up to 30 s; the last position is filled up with zeros."""
        samples = min(len(pcm), self._positions * self._granule)
        positions = max(2, -(-samples // self._granule))
        padded = np.zeros((1, positions * self._granule), np.float32)
        padded[0, :samples] = pcm[:samples]
        return Encoded(tuple(self._session.run("encode", padded)), positions, samples / SAMPLE_RATE)

    def decode(self, encoded: Encoded, draft: Sequence[int] = (), forced: Sequence[int] = (),
               favour: float = 0.0, more: int | None = None,
               enough: Callable[[np.ndarray], bool] | None = None) -> Hypothesis:
        """The greedy text of a phrase.

        draft: tokens that are likely (an earlier hypothesis): checked in one call, kept where they are what
            greedy decoding gives. 20 tokens cost 6 ms so instead of 30.
        forced: tokens the text must begin with (committed before).
        favour: by how much less likely than the best a token of the draft may be and is still kept, in nats.
        more: tokens that may come after as many as the draft has; more of them are a loop. None: any number.
        enough: asked of what a token attended to, (heads, positions); the text ends with the first one for which it is.
        """
        limit = min(self._cache - len(self.vocabulary.prompt) - 1, self._token_limit(encoded.seconds))
        if more is not None:
            limit = min(limit, max(len(draft), len(forced)) + more)
        pending = [*forced, *draft[len(forced):]]
        if tuple(draft[: len(forced)]) != tuple(forced):
            pending = list(forced)
        run, expected = _Run(self, encoded), _Draft(pending)
        rows = run.begin(self.vocabulary.prompt, pending)
        no_speech = float(np.exp(_log_softmax(rows[0])[self.vocabulary.special["no_speech"]]))
        tokens: list[int] = []
        logprobs: list[float] = []
        row, looped = rows[-1], False
        while True:
            choices = self._choose(row, first=not tokens)
            token = int(np.argmax(choices))
            if len(tokens) < len(forced):
                token = forced[len(tokens)]
            elif expected.rest and choices[token] - choices[expected.rest[0]] <= favour:
                token = expected.rest[0]
            if token == self.vocabulary.end:
                break
            if len(tokens) >= limit:
                looped = True
                break
            tokens.append(token)
            logprobs.append(float(choices[token]))
            if self._config.guards and (repeat := self._repeats(tokens)):
                del tokens[-repeat:], logprobs[-repeat:]
                looped = True
                break
            if enough is not None and len(tokens) > len(forced) and enough(run.attention(len(tokens) - 1)):
                break
            expected.take(token)
            row = run.next_row(token, expected.rest)
        if self._config.guards and not looped:
            looped = self._compresses(tokens)
        return Hypothesis(tuple(tokens), tuple(logprobs), no_speech,
                          run.alignment(len(tokens)), looped)

    def decode_safely(self, pcm: np.ndarray, encoded: Encoded, draft: Sequence[int] = (),
                      favour: float = 0.0) -> tuple[Encoded, Hypothesis]:
        """Decodes; where a loop was cut, once more with silence behind the phrase, keeping the better text."""
        hypothesis = self.decode(encoded, draft, favour=favour)
        if not hypothesis.looped or not self._config.guards:
            return encoded, hypothesis
        longer = self.encode(np.concatenate([pcm, np.zeros(int(RETRY_PADDING_S * SAMPLE_RATE), np.float32)]))
        again = self.decode(longer)
        if again.looped and again.mean_logprob <= hypothesis.mean_logprob:
            return encoded, hypothesis
        return longer, again

    def is_speech(self, hypothesis: Hypothesis) -> bool:
        """Whether the text is to be believed: not empty, and not doubtful where no speech was heard."""
        if not hypothesis.tokens or not self.vocabulary.decode(hypothesis.tokens).strip():
            return False
        config = self._config
        if not config.guards:
            return True
        return not (hypothesis.no_speech > config.no_speech and hypothesis.mean_logprob < config.min_logprob)

    def _token_limit(self, seconds: float) -> int:
        if not self._config.guards:
            return self._cache
        return math.ceil(self._config.tokens_per_second * seconds) + SPARE_TOKENS

    def _choose(self, row: np.ndarray, first: bool) -> np.ndarray:
        """Log-probabilities with the tokens that dictation never writes taken out."""
        return _log_softmax(row + (self._first_penalty if first else self._penalty))

    def _repeats(self, tokens: list[int]) -> int:
        """How many tokens at the end are repetitions too many; 0: none."""
        times = self._config.repeat_ngram
        for n in range(1, LONGEST_NGRAM + 1):
            if len(tokens) >= n * times and all(
                tokens[-n:] == tokens[-n * (k + 1) : -n * k] for k in range(1, times)
            ):
                return n * (times - 1)
        return 0

    def _compresses(self, tokens: list[int]) -> bool:
        text = self.vocabulary.bytes_of(tokens)
        return len(text) > 40 and len(text) / len(zlib.compress(text)) > self._config.compression_ratio


class _Draft:
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


class _Run:
    """One phrase's decoding: fills the caches, remembers what was computed ahead."""

    def __init__(self, decoder: Decoder, encoded: Encoded) -> None:
        self._decoder, self._encoded = decoder, encoded
        self._position = 0
        self._first = len(decoder.vocabulary.prompt) - 1  # row that predicts the first token
        self._ahead: list[tuple[int, np.ndarray]] = []  # (token that was fed, the row it gave)
        self._attention: list[np.ndarray] = []

    def advance(self, tokens: Sequence[int]) -> np.ndarray:
        """Feeds tokens; logits (n, vocab)."""
        d, p, n = self._decoder, self._position, len(tokens)
        outputs = d._session.run("decode", np.asarray(tokens, np.int64), np.asarray([p], np.int64),
                                 *d._keys, *d._values, *self._encoded.cross)
        logits, alignment = outputs[0], outputs[1]
        for i in range(d._layers):
            d._keys[i][:, :, p : p + n] = outputs[2 + i]
            d._values[i][:, p : p + n, :] = outputs[2 + d._layers + i]
        del self._attention[p:]
        self._attention.extend(alignment[:, k] for k in range(n))
        self._position = p + n
        return logits

    def begin(self, prompt: Sequence[int], pending: Sequence[int]) -> np.ndarray:
        """Logits (prompt, vocab); what is pending is fed in the same call, which is a call of 1 ms less a phrase."""
        return self._speculate(prompt, pending)

    def next_row(self, token: int, pending: Sequence[int]) -> np.ndarray:
        """Logits after `token`; what is `pending` behind it is fed in the same call."""
        if self._ahead and self._ahead[0][0] == token:
            return self._ahead.pop(0)[1]
        if self._ahead:  # the draft was wrong from here on: its keys and values are overwritten
            self._position -= len(self._ahead)
            self._ahead.clear()
        return self._speculate([token], pending)[0]

    def _speculate(self, tokens: Sequence[int], pending: Sequence[int]) -> np.ndarray:
        """Logits (tokens, vocab); those of what is pending, as much as one call takes, are kept ahead."""
        d, n = self._decoder, len(tokens)
        batch = [*tokens, *pending][: min(d._batch, d._cache - self._position)]
        rows = self.advance(batch)
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


def _log_softmax(row: np.ndarray) -> np.ndarray:
    shifted = row - row.max()
    return shifted - np.log(np.exp(shifted).sum())
