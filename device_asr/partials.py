"""What is shown while a phrase goes on: two ways to a hypothesis, and what of it is committed.

`Reencoding` encodes the phrase so far again and commits what successive hypotheses agree on. `Streaming`
hears each chunk once and shows what the decoder attended to before the last moments of the sound: what it writes
of those will often be heard otherwise (AlignAtt, Papi et al. 2023). It commits what lies before the look-ahead too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from device_asr.agreement import Agreement
from device_asr.bundle import Bundle
from device_asr.config import Config, PartialConfig
from device_asr.ctc import Letter
from device_asr.decoder import Decoder, Encoded, Hypothesis
from device_asr.errors import UsageError
from device_asr.stream import SAMPLE_RATE, StreamEncoder
from device_asr.tokenizer import Vocabulary

POSITION_MS = 20
ATTENDED = 0.7  # of its attention say where a token was heard; by the largest alone 1.6 times the words were taken back
SPARE_S = 1.0  # a phrase may be a little longer than the longest: frames are whole, and so are chunks


@dataclass(frozen=True, slots=True)
class Shown:
    """committed: the beginning of the hypothesis' tokens that stays until the final."""

    hypothesis: Hypothesis
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

    def due(self, since: float, interval: float) -> bool:
        """Whether an update may say more than the last, `since` seconds after it, or after the onset.

        Args:
            interval: seconds between two updates that the recogniser wants.
        """
        ...

    def update(self, sound: Callable[[], np.ndarray]) -> Shown | None:
        """What to show now, `sound()` being the whole phrase so far; None: nothing new."""
        ...

    def end(self) -> None:
        """The phrase ends: what is left of it is heard."""
        ...

    def frames(self, samples: int) -> Encoded | None:
        """What was heard of the phrase's first `samples`, for the decoder; None: it is not kept."""
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

    def due(self, since: float, interval: float) -> bool:
        return since >= interval

    def update(self, sound: Callable[[], np.ndarray]) -> Shown | None:
        encoded = self._decoder.encode(sound())
        hypothesis = self._decoder.decode(encoded, self.draft, self._agreement.committed)
        if hypothesis.looped or not self._decoder.is_speech(hypothesis):
            return None
        self.draft = hypothesis.tokens
        self._agreement.add(hypothesis.tokens)
        return Shown(hypothesis, self._agreement.committed)

    def end(self) -> None:
        pass

    def frames(self, samples: int) -> Encoded | None:
        return None

    def heard_nothing(self) -> bool:
        return False

    def last_heard(self) -> float | None:
        return None


class Streaming:
    """Hears chunks, shows and commits by attention."""

    def __init__(self, decoder: Decoder, encoder: StreamEncoder, config: PartialConfig) -> None:
        self._decoder, self.encoder = decoder, encoder
        self._guard = config.guard_ms // POSITION_MS
        self.begin(np.zeros(0, np.float32))

    def begin(self, sound: np.ndarray) -> None:
        self.encoder.reset()
        self.draft: tuple[int, ...] = ()
        self._committed: tuple[int, ...] = ()
        self._read: tuple[Letter, bool] | None = None
        self._fresh = False  # a chunk was completed just now
        self.encoder.feed(sound)

    def hear(self, frame: np.ndarray) -> None:
        self._fresh = self.encoder.feed(frame) > 0

    def due(self, since: float, interval: float) -> bool:
        if self._evidence() == self._read:
            return False  # the decoder is not asked where CTC heard nothing new
        # updates come with chunks: the nearest one to the interval, the first as soon as there is a letter
        return self._read is None or (self._fresh and since >= interval - self.encoder.chunk / SAMPLE_RATE / 2)

    def _evidence(self) -> tuple[Letter, bool] | None:
        """The last letter, and whether its frames have had their look-ahead: the decoder may then know better."""
        letter = self.encoder.last_letter
        return None if letter is None else (letter, letter.frame < self.encoder.settled)

    def update(self, sound: Callable[[], np.ndarray]) -> Shown | None:
        self._read = self._evidence()
        encoded = self.encoder.encoded()
        if encoded is None:
            return None
        hypothesis = self._decoder.decode(encoded, self.draft, self._committed)
        if hypothesis.looped or not self._decoder.is_speech(hypothesis):
            return None
        self.draft = hypothesis.tokens
        if hypothesis.alignment.shape[0] == 0:
            return Shown(hypothesis, self._committed)  # no head tells where words were heard: none is committed
        vocabulary, settled = self._decoder.vocabulary, self.encoder.settled - self._guard
        stable = heard_tokens(hypothesis, vocabulary, settled)
        last = vocabulary.words(hypothesis.tokens)[-1][0]  # where the last word begins, which may go on
        if min(stable, last) > len(self._committed):
            self._committed = hypothesis.tokens[: min(stable, last)]
        shown = max(heard_tokens(hypothesis, vocabulary, encoded.positions - self._guard), len(self._committed))
        return Shown(hypothesis.first(shown), self._committed) if shown else None

    def end(self) -> None:
        self.encoder.flush()

    def frames(self, samples: int) -> Encoded | None:
        return self.encoder.encoded(samples)

    def heard_nothing(self) -> bool:
        return self.encoder.chunks > 0 and self.encoder.last_letter is None

    def last_heard(self) -> float | None:
        letter = self.encoder.last_letter
        return None if letter is None else letter.frame * POSITION_MS / 1000


def policy(bundle: Bundle, session: Any, decoder: Decoder, config: Config) -> Partials:
    """What the settings ask for, as far as the model can: without the method `stream` partials are re-encoded.

    Raises:
        UsageError: finals are to come from the stream, and there is none.
    """
    wanted = config.final.mode == "stream"
    if wanted and config.partial.enabled and config.partial.mode != "stream":
        raise UsageError(f"final.mode = stream wants partial.mode = stream, found {config.partial.mode}; "
                         "the frames of the stream are there only where it is heard.")
    methods = bundle.manifest["programs"]["speech"]["methods"]
    if wanted and "stream" not in methods:
        raise UsageError(f"final.mode = stream wants a model with the method stream, found {', '.join(methods)} in "
                         f"{bundle.name}; choose another --model, or final.mode = full.")
    if "stream" not in methods or not (wanted or (config.partial.enabled and config.partial.mode == "stream")):
        return Reencoding(decoder, config.partial)
    return Streaming(decoder, StreamEncoder(methods["stream"], session, capacity(config)), config.partial)


def capacity(config: Config) -> int:
    """Positions that the longest phrase may have."""
    return math.ceil(longest(config) * 1000 / POSITION_MS) + 1


def longest(config: Config) -> float:
    """Seconds of sound of the longest phrase."""
    return config.endpoint.longest_phrase_s + config.endpoint.preroll_ms / 1000 + SPARE_S


def heard_tokens(hypothesis: Hypothesis, vocabulary: Vocabulary, before: int) -> int:
    """Tokens of the first words of which `ATTENDED` of each token's attention lies before position `before`.

    A sign behind the last of them may be left out: it is often heard in the pause that follows.
    """
    mean = hypothesis.alignment.mean(axis=0)[: len(hypothesis.tokens)]
    until = (mean.cumsum(axis=1) < ATTENDED * mean.sum(axis=1, keepdims=True)).sum(axis=1)
    late = np.flatnonzero(until >= before)
    early = int(late[0]) if len(late) else len(hypothesis.tokens)
    for group in vocabulary.words(hypothesis.tokens):
        rest = [hypothesis.tokens[k] for k in group if k >= early]
        if group[0] < early and any(letter.isalnum() for letter in vocabulary.decode(rest)):
            return group[0]
    return early
