"""DecodeProgram: the methods `encode` and `decode` of a bundle, with what the manifest says of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from device_asr.audio.format import SAMPLE_RATE
from device_asr.bundle.bundle import Bundle
from device_asr.decoding.cache import Caches
from device_asr.decoding.hypothesis import Encoded
from device_asr.runtime.session import Session

FEWEST_POSITIONS = 2  # `encode` and `decode` take no fewer


class DecodeProgram:
    """Runs `encode` and `decode`.

    vocabulary: the tokens. slots: tokens that a cache holds. batch: most tokens of one call of `decode`.
    position_s: seconds of audio of one encoder position. caches: the main text's, which each utterance overwrites.
    """

    def __init__(self, bundle: Bundle, session: Session) -> None:
        self._session = session
        self.vocabulary = bundle.vocabulary()
        speech = bundle.manifest["speech"]
        self._granule = int(speech["samples_per_position"])
        self._positions = int(speech["positions"])
        self.position_s = self._granule / SAMPLE_RATE
        self.slots = int(speech["cache"])
        self.batch = int(speech["tokens_per_call"])
        layers = speech["layers"]
        self._layers = len(layers)
        self.caches = Caches(
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

    @property
    def capacity(self) -> int:
        """Tokens of a text that the caches hold behind the prompt."""
        return self.slots - len(self.vocabulary.prompt) - 1

    def encode(self, pcm: np.ndarray) -> Encoded:
        """Encodes (n,) float32 at 16 kHz, up to the longest utterance; the last position is filled up with zeros."""
        samples = min(len(pcm), self._positions * self._granule)
        positions = max(FEWEST_POSITIONS, -(-samples // self._granule))
        padded = np.zeros((1, positions * self._granule), np.float32)
        padded[0, :samples] = pcm[:samples]
        outputs = self._session.run("encode", padded)
        cross = Caches(tuple(outputs[: self._layers]), tuple(outputs[self._layers :]))
        return Encoded(cross, positions, samples / SAMPLE_RATE)

    def step(
        self, tokens: Sequence[int], position: int, caches: Caches, encoded: Encoded
    ) -> tuple[np.ndarray, np.ndarray]:
        """Feeds tokens from `position` on and fills their slots.

        Returns:
            logits (n, vocab), alignment (heads, n, positions).
        """
        given = np.asarray(tokens, np.int64), np.asarray([position], np.int64)
        cross = encoded.cross
        logits, alignment, *new = self._session.run(
            "decode", *given, *caches.keys, *caches.values, *cross.keys, *cross.values
        )
        caches.store(position, new[: self._layers], new[self._layers :])
        return logits, alignment

    def choices(self, row: np.ndarray, first: bool) -> np.ndarray:
        """Log-probabilities (vocab,) of the next token; -inf for tokens that dictation never writes.

        Args:
            row: logits. first: whether the next token is the text's first one.
        """
        return _log_softmax(row + (self._first_penalty if first else self._penalty))

    def no_speech(self, row: np.ndarray) -> float:
        """Probability in [0, 1] that nobody speaks, by the logits behind the prompt's first token."""
        return float(np.exp(_log_softmax(row)[self.vocabulary.special["no_speech"]]))


def _log_softmax(row: np.ndarray) -> np.ndarray:
    shifted = row - row.max()
    return shifted - np.log(np.exp(shifted).sum())
