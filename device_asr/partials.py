"""What is shown while a phrase goes on: two ways to a hypothesis, and what of it is committed.

`Reencoding` encodes the phrase so far again and commits what successive hypotheses agree on. `Streaming`
hears each chunk once and commits what the decoder attended to before the last moments of the sound: words
there will not be heard otherwise (AlignAtt, Papi et al. 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from device_asr.agreement import Agreement
from device_asr.config import PartialConfig
from device_asr.decoder import Decoder, Hypothesis
from device_asr.stream import StreamEncoder
from device_asr.tokenizer import Vocabulary

POSITION_MS = 20


@dataclass(frozen=True, slots=True)
class Shown:
    """tokens: the hypothesis; committed: its beginning that stays until the final."""

    tokens: tuple[int, ...]
    committed: tuple[int, ...]


class Partials(Protocol):
    """The policy of a recogniser. draft: the last hypothesis, for the final to start from."""

    draft: tuple[int, ...]

    def begin(self, sound: np.ndarray) -> None:
        """A phrase opens with `sound`, (n,) float32."""
        ...

    def hear(self, frame: np.ndarray) -> None:
        """The phrase goes on."""
        ...

    def update(self, sound: np.ndarray) -> Shown | None:
        """What to show now, of the whole phrase so far; None: nothing new."""
        ...

    def heard_nothing(self) -> bool:
        """Whether there is evidence that the phrase holds no words."""
        ...

    def last_heard(self) -> float | None:
        """Seconds from the phrase's beginning to the last sign of speech; None: no evidence."""
        ...


class Reencoding:
    """Encodes the growing phrase, commits by LocalAgreement."""

    def __init__(self, decoder: Decoder, config: PartialConfig) -> None:
        self._decoder, self._config = decoder, config
        self.begin(np.zeros(0, np.float32))

    def begin(self, sound: np.ndarray) -> None:
        self._agreement = Agreement(self._decoder.vocabulary, self._config.agreement)
        self.draft: tuple[int, ...] = ()

    def hear(self, frame: np.ndarray) -> None:
        pass

    def update(self, sound: np.ndarray) -> Shown | None:
        encoded = self._decoder.encode(sound)
        hypothesis = self._decoder.decode(encoded, self.draft, self._agreement.committed)
        if hypothesis.looped or not self._decoder.is_speech(hypothesis):
            return None
        self.draft = hypothesis.tokens
        self._agreement.add(hypothesis.tokens)
        return Shown(hypothesis.tokens, self._agreement.committed)

    def heard_nothing(self) -> bool:
        return False

    def last_heard(self) -> float | None:
        return None


class Streaming:
    """Hears chunks, commits by attention."""

    def __init__(self, decoder: Decoder, encoder: StreamEncoder, config: PartialConfig) -> None:
        self._decoder, self._encoder = decoder, encoder
        self._guard = config.guard_ms // POSITION_MS
        self.begin(np.zeros(0, np.float32))

    def begin(self, sound: np.ndarray) -> None:
        self._encoder.reset()
        self.draft: tuple[int, ...] = ()
        self._committed: tuple[int, ...] = ()
        self._seen = 0
        self._encoder.feed(sound)

    def hear(self, frame: np.ndarray) -> None:
        self._encoder.feed(frame)

    def update(self, sound: np.ndarray) -> Shown | None:
        if self._encoder.chunks == self._seen:
            return None
        self._seen = self._encoder.chunks
        hypothesis = self._decoder.decode(self._encoder.encoded(), self.draft, self._committed)
        if hypothesis.looped or not self._decoder.is_speech(hypothesis):
            return None
        self.draft = hypothesis.tokens
        stable = stable_tokens(hypothesis, self._decoder.vocabulary, self._encoder.positions - self._guard)
        if stable > len(self._committed):
            self._committed = hypothesis.tokens[:stable]
        return Shown(hypothesis.tokens, self._committed)

    def heard_nothing(self) -> bool:
        return self._encoder.chunks > 0 and not self._encoder.letters

    def last_heard(self) -> float | None:
        letters = self._encoder.letters
        return letters[-1].frame * POSITION_MS / 1000 if letters else None


def stable_tokens(hypothesis: Hypothesis, vocabulary: Vocabulary, before: int) -> int:
    """Tokens of the whole words, the last one excluded, that were attended to before position `before`."""
    if hypothesis.alignment.shape[0] == 0:
        return 0
    attended = hypothesis.alignment.mean(axis=0).argmax(axis=1)[: len(hypothesis.tokens)]
    late = np.flatnonzero(attended >= before)
    early = int(late[0]) if len(late) else len(hypothesis.tokens)
    return max((group[0] for group in vocabulary.words(hypothesis.tokens) if group[0] <= early), default=0)
