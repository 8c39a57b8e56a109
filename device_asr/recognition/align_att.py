"""What is shown while an utterance goes on: two ways to a hypothesis, and what of it is committed.

`Reencoding` encodes the utterance so far again and commits what successive hypotheses agree on. `Streaming`
hears each chunk once and shows what the decoder attended to before the last moments of the audio: what it writes
of those will often be heard otherwise (AlignAtt, Papi et al. 2023), so there it stops. It commits what lies before the
look-ahead too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from device_asr.bundle.bundle import Bundle
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.config import Config, PartialConfig
from device_asr.decoding.alignment import attended_position
from device_asr.decoding.ctc import CtcSymbol
from device_asr.decoding.decoder import Decoder
from device_asr.decoding.hypothesis import Encoded, Hypothesis
from device_asr.errors import UsageError
from device_asr.recognition.agreement import Agreement
from device_asr.recognition.stream_encoder import SAMPLE_RATE, StreamEncoder
from device_asr.runtime.session import Session

POSITION_MS = 20
MORE = 24  # tokens that an update may bring, 6 s of speech
LATER = 2  # chunks after the last letter that still bring updates: the last partials' WER falls by 0.4 to 1.0 %
STALLED = 50  # positions of letters behind the last word; word emission p95 1216 -> 1140 ms (librispeech-other-dev)
WINDOW, KEPT = 500, 250  # positions: a longer part of an utterance is decoded from its last 5 s on
SPARE_S = 1.0  # an utterance may be a little longer than the longest: frames are whole, and so are chunks


@dataclass(frozen=True, slots=True)
class Shown:
    """committed: the beginning of the hypothesis' tokens that stays until the final."""

    hypothesis: Hypothesis
    committed: tuple[int, ...]


class Partials(Protocol):
    """The policy of a recognizer.

    draft: the last hypothesis, for the final to start from. favored: whether its words stay unless others are clearly
    more likely.
    """

    draft: tuple[int, ...]
    favored: bool

    def begin(self, audio: np.ndarray) -> None:
        """An utterance opens with `audio`, (n,) float32."""
        ...

    def hear(self, frame: np.ndarray) -> None:
        """The utterance goes on."""
        ...

    def due(self, since: float, interval: float) -> bool:
        """Whether an update may say more than the last, `since` seconds after it, or after the onset.

        Args:
            interval: seconds between two updates that the recognizer wants.
        """
        ...

    def update(self, audio: Callable[[], np.ndarray], pause: float) -> Shown | None:
        """What to show now, `audio()` being the whole utterance so far; None: nothing new.

        Args:
            pause: seconds since the last speech.
        """
        ...

    def end(self) -> None:
        """The utterance ends: what is left of it is heard."""
        ...

    def frames(self, samples: int) -> Encoded | None:
        """What was heard of the utterance's first `samples`, for the decoder; None: it is not kept."""
        ...

    def heard_nothing(self) -> bool:
        """Whether there is evidence that the utterance holds no words."""
        ...

    def last_heard(self) -> float | None:
        """Seconds from the utterance's beginning to the last sign of speech; None: no evidence."""
        ...


class Reencoding:
    """Encodes the growing utterance, commits by LocalAgreement."""

    # its words were often heard at the cut end of the audio: favored, they cost the first bundle 11 words of 1050 and
    # a network without short-context distillation 51
    favored = False

    def __init__(self, decoder: Decoder, config: PartialConfig) -> None:
        self._decoder, self._config = decoder, config
        self.begin(np.zeros(0, np.float32))

    def begin(self, audio: np.ndarray) -> None:
        self._agreement = Agreement(self._decoder.vocabulary, self._config.agreement)
        self.draft: tuple[int, ...] = ()

    def hear(self, frame: np.ndarray) -> None:
        pass

    def due(self, since: float, interval: float) -> bool:
        return since >= interval

    def update(self, audio: Callable[[], np.ndarray], pause: float) -> Shown | None:
        encoded = self._decoder.encode(audio())
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

    favored = True

    def __init__(self, decoder: Decoder, encoder: StreamEncoder, config: PartialConfig) -> None:
        self._decoder, self.encoder = decoder, encoder
        self._holdback, self._first_holdback = (
            ms // POSITION_MS for ms in (config.holdback_ms, config.first_holdback_ms)
        )
        self.begin(np.zeros(0, np.float32))

    def begin(self, audio: np.ndarray) -> None:
        self.encoder.reset()
        self._committed: tuple[int, ...] = ()
        self._last: Hypothesis | None = None
        self._behind = self._first = 0  # tokens that are not decoded again, and the position from which others are
        self._read: tuple[CtcSymbol, int] | None = None
        self._showing = False
        self._fresh = self._previewed = False  # a chunk was completed just now; it was heard before it was whole
        self.encoder.feed(audio)

    @property
    def draft(self) -> tuple[int, ...]:
        return self._last.tokens if self._last is not None else ()

    def hear(self, frame: np.ndarray) -> None:
        self._fresh = self.encoder.feed(frame) > 0
        self._previewed &= not self._fresh

    def due(self, since: float, interval: float) -> bool:
        if not (self._showing or self._previewed) and self.encoder.waiting >= self.encoder.chunk // 2:
            self.encoder.preview()  # the first word need not wait for a whole chunk
            self._fresh = self._previewed = True
        if self._evidence() == self._read:
            return False  # the decoder is not asked where CTC heard nothing new
        # updates come with chunks: the nearest one to the interval, the first as soon as there is a letter
        nearest = interval - self.encoder.chunk / SAMPLE_RATE / 2
        return self._read is None or (self._fresh and (not self._showing or since >= nearest))

    def _evidence(self) -> tuple[CtcSymbol, int] | None:
        """The last letter, and how many chunks were heard after it, up to `LATER`: the decoder may then know better."""
        letter = self.encoder.last_symbol
        if letter is None:
            return None
        return letter, min((self.encoder.positions - 1 - letter.frame) // self.encoder.frames, LATER)

    def update(self, audio: Callable[[], np.ndarray], pause: float) -> Shown | None:
        self._read = self._evidence()
        # in a pause the last word is whole: as long as it was heard, as much less is held back
        guard = max(0, self._holdback - round(1000 * pause / POSITION_MS))
        hypothesis = self._hypothesis(guard)
        if hypothesis is None:
            return None
        self._last = hypothesis
        if hypothesis.alignment.shape[0] == 0:
            return Shown(hypothesis, self._committed)  # no head tells where words were heard: none is committed
        until = heard_until(hypothesis)
        if self._stalled(until):
            self._committed, self._behind, self._first = hypothesis.tokens, len(hypothesis.tokens), int(until.max()) + 1
            if (further := self._hypothesis(guard)) is not None:
                self._last = hypothesis = further
                until = heard_until(hypothesis)
        vocabulary = self._decoder.vocabulary
        stable = heard_tokens(hypothesis, vocabulary, until, self.encoder.settled - self._holdback)
        last = vocabulary.words(hypothesis.tokens)[-1][0]  # where the last word begins, which may go on
        if min(stable, last) > len(self._committed):
            self._committed = hypothesis.tokens[: min(stable, last)]
        end = self.encoder.positions
        shown = max(heard_tokens(hypothesis, vocabulary, until, end - guard), len(self._committed))
        if shown == 0 and not self._showing:  # with the other guard the first text would come a chunk later
            first = vocabulary.words(hypothesis.tokens)[0]
            shown = min(heard_tokens(hypothesis, vocabulary, until, end - self._first_holdback), first[-1] + 1)
        self._showing |= shown > 0
        if end - self._first > WINDOW:
            self._leave_behind(hypothesis, until)
        return Shown(hypothesis.first(shown), self._committed) if shown else None

    def _hypothesis(self, guard: int) -> Hypothesis | None:
        """Of the utterance so far, what was left behind included; None: too short, no speech, or a loop.

        It ends with the first token that was heard in the last `guard` positions: no word is shown behind that one, and
        many loops begin there.
        """
        encoded = self.encoder.encoded(first=self._first)
        if encoded is None:
            return None
        before = encoded.positions - (guard if self._showing else min(guard, self._first_holdback))
        found = self._decoder.decode(
            encoded,
            self.draft[self._behind :],
            self._committed[self._behind :],
            more=MORE,
            enough=lambda attention: len(attention) > 0 and attended_position(attention) >= before,
        )
        if found.looped or not self._decoder.is_speech(found):
            return None
        return found.behind(self._last, self._behind, self._first) if self._behind else found

    def _stalled(self, until: np.ndarray) -> bool:
        """Whether letters were heard so long after the last word that the decoder has taken it for the end."""
        letter = self.encoder.last_symbol
        return letter is not None and letter.frame - int(until.max()) >= STALLED

    def _leave_behind(self, hypothesis: Hypothesis, until: np.ndarray) -> None:
        """Words that are committed and were heard before the last `KEPT` positions are not decoded again.

        So what an update costs does not grow with the utterance.
        """
        latest = self.encoder.positions - KEPT
        for group in self._decoder.vocabulary.words(self._committed):
            if group[0] >= self._behind and until[group[-1]] < latest:
                self._behind, self._first = group[-1] + 1, max(self._first, int(until[group[-1]]) + 1)

    def end(self) -> None:
        self.encoder.flush()

    def frames(self, samples: int) -> Encoded | None:
        return self.encoder.encoded(samples)

    def heard_nothing(self) -> bool:
        return self.encoder.chunks > 0 and self.encoder.last_symbol is None

    def last_heard(self) -> float | None:
        letter = self.encoder.last_symbol
        return None if letter is None else letter.frame * POSITION_MS / 1000


def policy(bundle: Bundle, session: Session, decoder: Decoder, config: Config) -> Partials:
    """What the settings ask for, as far as the model can: without the method `stream` partials are re-encoded.

    Raises:
        UsageError: finals are to come from the stream, and there is none.
    """
    wanted = config.final.mode == "stream"
    if wanted and config.partial.enabled and config.partial.mode != "stream":
        raise UsageError(
            f"final.mode = stream wants partial.mode = stream, found {config.partial.mode}; "
            "the frames of the stream are there only where it is heard."
        )
    methods = bundle.manifest["programs"]["speech"]["methods"]
    if wanted and "stream" not in methods:
        raise UsageError(
            f"final.mode = stream wants a model with the method stream, found {', '.join(methods)} in "
            f"{bundle.name}; choose another --model, or final.mode = full."
        )
    if "stream" not in methods or not (wanted or (config.partial.enabled and config.partial.mode == "stream")):
        return Reencoding(decoder, config.partial)
    return Streaming(decoder, StreamEncoder(methods["stream"], session, capacity(config)), config.partial)


def capacity(config: Config) -> int:
    """Positions that the longest utterance may have."""
    return math.ceil(longest(config) * 1000 / POSITION_MS) + 1


def longest(config: Config) -> float:
    """Seconds of audio of the longest utterance."""
    return config.endpoint.longest_utterance_s + config.endpoint.preroll_ms / 1000 + SPARE_S


def heard_until(hypothesis: Hypothesis) -> np.ndarray:
    """(tokens,) int: the position up to which each token was heard, with `ATTENDED` of its attention."""
    return attended_position(hypothesis.alignment[:, : len(hypothesis.tokens)])


def heard_tokens(hypothesis: Hypothesis, vocabulary: Vocabulary, until: np.ndarray, before: int) -> int:
    """Tokens of the first words that were heard before position `before`, `until` being what `heard_until` says.

    A sign behind the last of them may be left out: it is often heard in the pause that follows.
    """
    late = np.flatnonzero(until >= before)
    early = int(late[0]) if len(late) else len(hypothesis.tokens)
    for group in vocabulary.words(hypothesis.tokens):
        rest = [hypothesis.tokens[k] for k in group if k >= early]
        if group[0] < early and any(letter.isalnum() for letter in vocabulary.decode(rest)):
            return group[0]
    return early
