"""Custom words at work: spotted while an utterance is heard, put into what is shown and into what is final.

What was committed stays: words are put in before they are committed, and a word that one in progress may still
take is committed only when that is settled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from device_asr.bundle.bundle import Bundle
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.config import Config
from device_asr.decoding.alignment import align_words
from device_asr.decoding.hypothesis import Hypothesis
from device_asr.errors import UsageError
from device_asr.events import Word
from device_asr.hotwords.spotter import SECONDS_PER_FRAME, SHARED, Spotted, Spotter, lies_within, put_in, replacements
from device_asr.hotwords.words import configured_hotwords
from device_asr.recognition.align_att import Partials, Shown, Streaming, capacity
from device_asr.recognition.stream_encoder import SAMPLE_RATE, StreamEncoder
from device_asr.runtime.session import Session


class Biasing:
    """The custom words of a recognizer, utterance by utterance.

    Args:
        encoder: hears the utterances.
        shared: somebody else feeds it while an utterance goes on; otherwise it hears each utterance once, at its end.
    """

    def __init__(self, spotter: Spotter, encoder: StreamEncoder, vocabulary: Vocabulary, *, shared: bool) -> None:
        self._spotter, self._encoder, self._vocabulary, self._shared = spotter, encoder, vocabulary, shared
        self.begin()

    def begin(self) -> None:
        """An utterance opens."""
        self._spotter.reset()
        self._committed: tuple[str, ...] = ()
        self._given = 0  # tokens of the hypothesis that these stand for
        self._aligned = 0.0  # seconds of the utterance up to which those were heard
        self._until = 0.0  # the same, or the end of the custom word that was put in last

    def shown(self, update: Shown, active: Sequence[bool], frame: float) -> tuple[str, str]:
        """Text of an utterance so far, and the beginning of it that stays.

        Args:
            active: see `align_words`, as `frame`.
        """
        spotter = self._listen()
        words, tokens = self._uncommitted(update.hypothesis, active, frame)
        origin = -self._encoder.delay
        placed = {one.first: one for one in replacements(words, self._free(spotter), origin)}
        pending = spotter.pending()
        held = math.inf if pending is None else origin + pending * SECONDS_PER_FRAME
        rest: list[str] = []
        at = 0
        while at < len(words):
            one = placed.get(at)
            word, at = (words[at], at + 1) if one is None else (one.word, one.last)
            rest.append(word.text)
            if tokens[at - 1] <= len(update.committed) and len(rest) == 1 and not lies_within(word, held, math.inf):
                self._committed = (*self._committed, *rest)
                self._given, self._aligned = tokens[at - 1], word.end
                self._until = max(self._until, word.end if one is None else one.until)
                rest = []
        return " ".join((*self._committed, *rest)), " ".join(self._committed)

    def _uncommitted(
        self, hypothesis: Hypothesis, active: Sequence[bool], frame: float
    ) -> tuple[tuple[Word, ...], list[int]]:
        """Words behind the committed ones, and for each the number of the hypothesis' tokens up to its end.

        Aligning the whole utterance each time takes 14 ms at 10 s and 50 ms at 20 s (8 heads); the last 3 s take 2 ms.
        """
        first, skip = self._given, int(self._aligned / frame)
        rest = Hypothesis(
            hypothesis.tokens[first:],
            hypothesis.logprobs[first:],
            hypothesis.no_speech,
            hypothesis.alignment[:, first:, round(skip * frame / SECONDS_PER_FRAME) :],
            hypothesis.looped,
        )
        decode = self._vocabulary.decode
        tokens = [
            first + group[-1] + 1
            for group in self._vocabulary.words(rest.tokens)
            if decode(rest.tokens[k] for k in group).strip()
        ]
        return align_words(rest, self._vocabulary, self._encoder.position_s, skip * frame, active[skip:]), tokens

    def final(self, words: Sequence[Word], audio: np.ndarray, start: float) -> tuple[Word, ...]:
        """The words of a finished utterance, custom ones in place.

        Args:
            audio: the utterance, (n,) float32, which begins at `start` seconds of the words' clock.
        """
        encoder = self._encoder
        if not self._shared:
            encoder.reset()
            encoder.feed(audio)
            encoder.flush()
        if encoder.samples > len(audio):  # the utterance was cut, and more than it was heard
            frames = math.ceil((len(audio) / SAMPLE_RATE + encoder.delay) / SECONDS_PER_FRAME)
            spotted = self._spotter.find(encoder.scores[: min(frames, encoder.positions)])
        else:
            spotted = self._listen().found(ended=True)
        return put_in(words, spotted, start - encoder.delay)

    def _listen(self) -> Spotter:
        """The spotter after all that was heard for good, and a copy of it after what may come again."""
        encoder = self._encoder
        self._spotter.feed(encoder.scores[self._spotter.frames : encoder.settled])
        return self._spotter.after(encoder.scores[encoder.settled : encoder.positions])

    def _free(self, spotter: Spotter) -> list[Spotted]:
        """Words that were spotted, those left out that lie in what is committed already."""
        until = round((self._until + self._encoder.delay) / SECONDS_PER_FRAME)
        return [one for one in spotter.found(ended=True) if until - one.start < SHARED * (one.end - one.start)]


def biasing(bundle: Bundle, session: Session, partials: Partials, config: Config) -> Biasing | None:
    """The custom words that the settings name; None: none.

    Raises:
        UsageError: the file cannot be used, or the model has no CTC head to hear them with.
    """
    words = configured_hotwords(config.decoding)
    if not words:
        return None
    methods = bundle.manifest["programs"]["speech"]["methods"]
    if "stream" not in methods:
        raise UsageError(
            f"Hotwords want a model with the method stream, found {', '.join(methods)} in {bundle.name}; "
            "choose another --model, or leave out --hotwords (decoding.hotwords)."
        )
    if isinstance(partials, Streaming):
        return Biasing(Spotter(words), partials.encoder, bundle.vocabulary(), shared=True)
    encoder = StreamEncoder(methods["stream"], session, capacity(config))
    return Biasing(Spotter(words), encoder, bundle.vocabulary(), shared=False)
