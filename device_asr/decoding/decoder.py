"""Autoregressive decoding with cached keys and values, drafts, and guards against loops."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from device_asr.bundle.bundle import Bundle
from device_asr.config import DecodingConfig
from device_asr.decoding.beam import search
from device_asr.decoding.cache import Caches
from device_asr.decoding.hypothesis import Encoded, Hypothesis
from device_asr.decoding.run import Draft, Run
from device_asr.runtime.session import Session

SAMPLE_RATE = 16_000
SPARE_TOKENS = 8  # a very short utterance may still be a few tokens
LONGEST_NGRAM = 8  # tokens; longer loops are left to the compression ratio
RETRY_PADDING_S = 4.0  # silence added where a loop was heard: the teacher stops when it sees an end


class Decoder:
    """Decoding through the bundle's `encode` and `decode`: greedy, or by beam search."""

    def __init__(self, bundle: Bundle, session: Session, config: DecodingConfig) -> None:
        self._session, self._config = session, config
        self.vocabulary = bundle.vocabulary()
        speech = bundle.manifest["speech"]
        self._granule = int(speech["samples_per_position"])
        self._positions = int(speech["positions"])
        self.slots = int(speech["cache"])
        self.batch = int(speech["tokens_per_call"])
        layers = speech["layers"]
        self._caches = Caches(
            tuple(np.zeros((x["heads"], x["head_dim"], self.slots), np.float32) for x in layers),
            tuple(np.zeros((x["heads"], self.slots, x["head_dim"]), np.float32) for x in layers),
        )
        ids = int(bundle.manifest["programs"]["speech"]["methods"]["decode"]["outputs"][0]["shape"][1])
        self._penalty = np.full(ids, -np.inf, np.float32)  # a teacher's time stamps are ids too, and never text
        self._penalty[: len(self.vocabulary.tokens)] = 0.0
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

    def decode(
        self,
        encoded: Encoded,
        draft: Sequence[int] = (),
        forced: Sequence[int] = (),
        favor: float = 0.0,
        more: int | None = None,
        enough: Callable[[np.ndarray], bool] | None = None,
    ) -> Hypothesis:
        """The greedy text of an utterance.

        draft: tokens that are likely (an earlier hypothesis): checked in one call, kept where they are what
            greedy decoding gives. 20 tokens cost 6 ms so instead of 30.
        forced: tokens the text must begin with (committed before).
        favor: by how much less likely than the best a token of the draft may be and is still kept, in nats.
        more: tokens that may come after as many as the draft has; more of them are a loop. None: any number.
        enough: asked of what a token attended to, (heads, positions); the text ends with the first one for which it is.
        """
        limit = self.token_limit(encoded.seconds)
        if more is not None:
            limit = min(limit, max(len(draft), len(forced)) + more)
        pending = [*forced, *draft[len(forced) :]]
        if tuple(draft[: len(forced)]) != tuple(forced):
            pending = list(forced)
        run, expected = self.begin(encoded), Draft(pending)
        rows = run.begin(self.vocabulary.prompt, pending)
        no_speech = float(np.exp(_log_softmax(rows[0])[self.vocabulary.special["no_speech"]]))
        tokens: list[int] = []
        logprobs: list[float] = []
        row, looped, ending = rows[-1], False, 0.0
        while True:
            choices = self.choices(row, first=not tokens)
            token = int(np.argmax(choices))
            if len(tokens) < len(forced):
                token = forced[len(tokens)]
            elif expected.rest and choices[token] - choices[expected.rest[0]] <= favor:
                token = expected.rest[0]
            if token == self.vocabulary.end:
                ending = float(choices[token])
                break
            if len(tokens) >= limit:
                looped = True
                break
            tokens.append(token)
            logprobs.append(float(choices[token]))
            if repeat := self.repeats(tokens):
                del tokens[-repeat:], logprobs[-repeat:]
                looped = True
                break
            if enough is not None and len(tokens) > len(forced) and enough(run.attention(len(tokens) - 1)):
                break
            expected.take(token)
            row = run.next_row(token, expected.rest)
        looped = looped or self.compresses(tokens)
        return Hypothesis(tuple(tokens), tuple(logprobs), no_speech, run.alignment(len(tokens)), looped, ending)

    def decode_safely(
        self, pcm: np.ndarray, encoded: Encoded, draft: Sequence[int] = (), favor: float = 0.0, beam: int = 1
    ) -> tuple[Encoded, Hypothesis]:
        """Decodes; where a loop was cut, once more with silence behind the utterance, keeping the better text.

        beam: texts that are followed side by side, see `beam.py`; 1: the greedy one alone.
        """
        hypothesis = self.decode(encoded, draft, favor=favor)
        if beam > 1 and not hypothesis.looped and self.is_speech(hypothesis):
            return encoded, search(self, encoded, hypothesis, beam)
        if not hypothesis.looped or not self._config.guards:
            return encoded, hypothesis
        longer = self.encode(np.concatenate([pcm, np.zeros(int(RETRY_PADDING_S * SAMPLE_RATE), np.float32)]))
        again = self.decode(longer)
        if again.looped and again.mean_logprob <= hypothesis.mean_logprob:
            return encoded, hypothesis
        return longer, again

    def begin(self, encoded: Encoded) -> Run:
        """A run of the utterance; it overwrites what the last one has in the caches."""
        return Run(self, encoded, self._caches)

    def step(
        self, tokens: Sequence[int], position: int, caches: Caches, encoded: Encoded
    ) -> tuple[np.ndarray, np.ndarray]:
        """Feeds tokens from `position` on, fills their slots; logits (n, vocab), alignment (heads, n, positions)."""
        given = np.asarray(tokens, np.int64), np.asarray([position], np.int64)
        logits, alignment, *new = self._session.run("decode", *given, *caches.keys, *caches.values, *encoded.cross)
        caches.store(position, len(tokens), new)
        return logits, alignment

    def is_speech(self, hypothesis: Hypothesis) -> bool:
        """Whether the text is to be believed: not empty, and not doubtful where no speech was heard."""
        if not hypothesis.tokens or not self.vocabulary.decode(hypothesis.tokens).strip():
            return False
        config = self._config
        if not config.guards:
            return True
        return not (hypothesis.no_speech > config.no_speech and hypothesis.mean_logprob < config.min_logprob)

    def token_limit(self, seconds: float) -> int:
        """Most tokens of an utterance: what the caches hold, and with guards no more than can be said in the time."""
        held = self.slots - len(self.vocabulary.prompt) - 1
        said = math.ceil(self._config.tokens_per_second * seconds) + SPARE_TOKENS
        return min(held, said) if self._config.guards else held

    def choices(self, row: np.ndarray, first: bool) -> np.ndarray:
        """Log-probabilities with the tokens that dictation never writes taken out."""
        return _log_softmax(row + (self._first_penalty if first else self._penalty))

    def repeats(self, tokens: Sequence[int]) -> int:
        """How many tokens at the end are repetitions too many; 0: none, or guards are off."""
        if not self._config.guards:
            return 0
        times = self._config.repeat_ngram
        for n in range(1, LONGEST_NGRAM + 1):
            if len(tokens) >= n * times and all(tokens[-n:] == tokens[-n * (k + 1) : -n * k] for k in range(1, times)):
                return n * (times - 1)
        return 0

    def compresses(self, tokens: Sequence[int]) -> bool:
        """Whether the text shrinks so much that it is a loop; never where guards are off."""
        text = self.vocabulary.bytes_of(tokens)
        long = self._config.guards and len(text) > 40
        return long and len(text) / len(zlib.compress(text)) > self._config.compression_ratio


def _log_softmax(row: np.ndarray) -> np.ndarray:
    shifted = row - row.max()
    return shifted - np.log(np.exp(shifted).sum())
