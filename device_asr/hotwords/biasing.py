"""Custom words at work: spotted while an utterance goes on, put into its partials and into its final.

Committed text stays: a custom word is put in before the words that it replaces are committed, and a word that a
custom word in progress may still replace is committed only when that is decided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from device_asr.audio.format import SAMPLE_RATE, STEP_S
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.decoding.alignment import align_words
from device_asr.decoding.hypothesis import Hypothesis
from device_asr.events import Seconds, Word
from device_asr.hotwords.spotter import SHARED, Spotted, Spotter, lies_within, put_in, replacements


class CtcEncoder(Protocol):
    """What custom words need of an encoder: the CTC head's scores of the utterance so far."""

    @property
    def scores(self) -> np.ndarray:
        """(at least `positions`, symbols) float32, logits or log-probabilities."""
        ...

    @property
    def positions(self) -> int:
        """Rows of `scores` that belong to the utterance."""
        ...

    @property
    def settled(self) -> int:
        """First rows of those that will not change."""
        ...

    @property
    def samples(self) -> int:
        """Samples of the utterance so far."""
        ...

    @property
    def position_s(self) -> Seconds:
        """Seconds of audio of one position."""
        ...

    @property
    def delay(self) -> Seconds:
        """Seconds by which a position's audio lies before `position * position_s`."""
        ...

    def begin(self, audio: np.ndarray) -> None:
        """Opens a new utterance, which begins with `audio`, (n,) float32 at 16 kHz."""
        ...

    def end(self) -> None:
        """Encodes the rest: no more audio of this utterance comes."""
        ...


class Biasing:
    """The custom words of a recognizer, utterance by utterance.

    Args:
        encoder: gives the scores in which words are spotted.
        shared: somebody else feeds the encoder while an utterance goes on; otherwise it encodes each utterance once,
            at its end.
    """

    def __init__(self, spotter: Spotter, encoder: CtcEncoder, vocabulary: Vocabulary, *, shared: bool) -> None:
        self._spotter, self._encoder, self._vocabulary, self._shared = spotter, encoder, vocabulary, shared
        self.begin()

    def begin(self) -> None:
        """An utterance opens."""
        self._spotter.reset()
        self._committed: tuple[str, ...] = ()
        self._given = 0  # tokens of the hypothesis that the committed words stand for
        self._aligned = 0.0  # seconds of the utterance at which the last of those words ends
        self._until = 0.0  # the same, or the end of the custom word that was put in last

    def shown(self, hypothesis: Hypothesis, committed: Sequence[int], active: Sequence[bool]) -> tuple[str, str]:
        """The text of a partial with custom words in place, and its committed beginning.

        Args:
            committed: the hypothesis' first tokens, which stay.
            active: for each step of the utterance (`STEP_S`) whether the detector found speech.
        """
        position_s = self._encoder.position_s
        spotter = self._spot()
        words, tokens = self._uncommitted(hypothesis, active)
        origin = -self._encoder.delay
        placed = {one.first: one for one in replacements(words, self._free(spotter), origin, position_s)}
        pending = spotter.pending()
        held = math.inf if pending is None else origin + pending * position_s
        rest: list[str] = []
        at = 0
        while at < len(words):
            one = placed.get(at)
            word, at = (words[at], at + 1) if one is None else (one.word, one.last)
            rest.append(word.text)
            if tokens[at - 1] <= len(committed) and len(rest) == 1 and not lies_within(word, held, math.inf):
                self._committed = (*self._committed, *rest)
                self._given, self._aligned = tokens[at - 1], word.end
                self._until = max(self._until, word.end if one is None else one.until)
                rest = []
        return " ".join((*self._committed, *rest)), " ".join(self._committed)

    def _uncommitted(self, hypothesis: Hypothesis, active: Sequence[bool]) -> tuple[tuple[Word, ...], list[int]]:
        """The words behind the committed ones, and for each the number of the hypothesis' tokens up to its end.

        Aligning the whole utterance each time takes 14 ms at 10 s and 50 ms at 20 s (8 heads); the last 3 s take 2 ms.
        """
        first, skip = self._given, int(self._aligned / STEP_S)
        rest = Hypothesis(
            hypothesis.tokens[first:],
            hypothesis.logprobs[first:],
            hypothesis.no_speech,
            hypothesis.alignment[:, first:, round(skip * STEP_S / self._encoder.position_s) :],
            hypothesis.looped,
        )
        decode = self._vocabulary.decode
        tokens = [
            first + group[-1] + 1
            for group in self._vocabulary.words(rest.tokens)
            if decode(rest.tokens[k] for k in group).strip()
        ]
        return align_words(rest, self._vocabulary, self._encoder.position_s, skip * STEP_S, active[skip:]), tokens

    def final(self, words: Sequence[Word], audio: np.ndarray, start: Seconds) -> tuple[Word, ...]:
        """The words of a finished utterance, custom ones in place.

        Args:
            audio: the utterance, (n,) float32, which begins at `start` seconds of the words' clock.
        """
        encoder = self._encoder
        if not self._shared:
            encoder.begin(audio)
            encoder.end()
        if encoder.samples > len(audio):  # the utterance was cut, and audio behind the cut was encoded too
            positions = math.ceil((len(audio) / SAMPLE_RATE + encoder.delay) / encoder.position_s)
            spotted = self._spotter.find(encoder.scores[: min(positions, encoder.positions)])
        else:
            spotted = self._spot().found(ended=True)
        return put_in(words, spotted, start - encoder.delay, encoder.position_s)

    def _spot(self) -> Spotter:
        """A spotter that was fed all scores so far; `self._spotter` is fed those that will not change."""
        encoder = self._encoder
        self._spotter.feed(encoder.scores[self._spotter.frames : encoder.settled])
        return self._spotter.after(encoder.scores[encoder.settled : encoder.positions])

    def _free(self, spotter: Spotter) -> list[Spotted]:
        """The spotted words, without those that lie in the committed text already."""
        until = round((self._until + self._encoder.delay) / self._encoder.position_s)
        return [one for one in spotter.found(ended=True) if until - one.start < SHARED * (one.end - one.start)]
