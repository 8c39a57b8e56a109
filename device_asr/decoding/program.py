"""DecodeProgram: the methods `encode` and `decode` of a bundle, bound by role."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from device_asr.audio.format import SAMPLE_RATE
from device_asr.bundle.bundle import Bundle
from device_asr.bundle.roles import (
    ALIGNMENT,
    CROSS_KEYS,
    CROSS_VALUES,
    LOGITS,
    PCM,
    POSITION,
    SELF_KEYS,
    SELF_VALUES,
    TOKENS,
    numbered,
)
from device_asr.decoding.cache import Caches
from device_asr.decoding.hypothesis import Encoded
from device_asr.runtime.session import Session

FEWEST_POSITIONS = 2  # `encode` and `decode` take no fewer


class DecodeProgram:
    """Runs `encode` and `decode`.

    vocabulary: the tokens. speech: the program's limits and habits. slots: tokens that a cache holds. batch: most
    tokens of one call of `decode`. position_s: seconds of audio of one encoder position. caches: the main text's, which
    each utterance overwrites.

    Args:
        empty_text: the setting of that name, see `DecodingConfig`.
    """

    def __init__(self, bundle: Bundle, session: Session, empty_text: str = "model") -> None:
        self.vocabulary, self.speech = bundle.vocabulary(), bundle.speech
        self._granule, self._positions = self.speech.samples_per_position, self.speech.positions
        self.position_s = self.speech.position_s
        self.slots, self.batch = self.speech.cache, self.speech.tokens_per_call
        self._encode = bundle.method(session, "speech", "encode")
        self._decode = bundle.method(session, "speech", "decode")
        shapes = {role: tensor["shape"] for role, tensor in self._decode.inputs.items()}
        self.caches = Caches(
            tuple(np.zeros(shapes[role], np.float32) for role in numbered(SELF_KEYS, shapes)),
            tuple(np.zeros(shapes[role], np.float32) for role in numbered(SELF_VALUES, shapes)),
        )
        ids = int(self._decode.outputs[LOGITS]["shape"][1])
        self._penalty = np.full(ids, -np.inf, np.float32)  # a teacher's time stamps are ids too, and never text
        self._penalty[: len(self.vocabulary.tokens)] = 0.0
        self._penalty[self.vocabulary.end] = 0.0
        self._penalty[list(self.vocabulary.unwritten)] = -np.inf
        self._first_penalty = self._penalty.copy()
        self._first_penalty[list(self.vocabulary.suppress_first)] = -np.inf
        self._spoken_penalty = self._first_penalty.copy()
        if (self.speech.end_first if empty_text == "model" else empty_text) == "silence":
            self._spoken_penalty[self.vocabulary.end] = -np.inf

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
        cross = Caches.of(self._encode({PCM: padded}), CROSS_KEYS, CROSS_VALUES)
        return Encoded(cross, positions, samples / SAMPLE_RATE)

    def step(
        self, tokens: Sequence[int], position: int, caches: Caches, encoded: Encoded
    ) -> tuple[np.ndarray, np.ndarray]:
        """Feeds tokens from `position` on and fills their slots.

        Returns:
            logits (n, vocab); alignment (heads, n, positions), without heads where the program gives none.
        """
        outputs = self._decode(
            {
                TOKENS: np.asarray(tokens, np.int64),
                POSITION: np.asarray([position], np.int64),
                **caches.by_role(SELF_KEYS, SELF_VALUES),
                **encoded.cross.by_role(CROSS_KEYS, CROSS_VALUES),
            }
        )
        caches.store(position, Caches.of(outputs, SELF_KEYS, SELF_VALUES))
        alignment = outputs.get(ALIGNMENT)
        if alignment is None:
            alignment = np.zeros((0, len(tokens), encoded.positions), np.float32)
        return outputs[LOGITS], alignment

    def choices(self, row: np.ndarray, first: bool, spoken: bool) -> np.ndarray:
        """Log-probabilities (vocab,) of the next token; -inf for tokens that dictation never writes.

        Args:
            row: logits. first: whether the next token is the text's first one. spoken: see `Encoded`.
        """
        if not first:
            return _log_softmax(row + self._penalty)
        return _log_softmax(row + (self._spoken_penalty if spoken else self._first_penalty))

    def no_speech(self, row: np.ndarray) -> float:
        """Probability in [0, 1] that nobody speaks, by the logits behind the prompt's first token.

        It is 0 where the vocabulary has no token for it.
        """
        token = self.vocabulary.no_speech
        return 0.0 if token is None else float(np.exp(_log_softmax(row)[token]))


def _log_softmax(row: np.ndarray) -> np.ndarray:
    shifted = row - row.max()
    return shifted - np.log(np.exp(shifted).sum())
