"""LocalAgreement: the utterance so far is decoded again, and words on which successive hypotheses agree are committed.

After Liu et al. 2020 and Machacek et al. 2023 (LocalAgreement-2). The last word of a hypothesis is held
back: it may be cut in the middle, and the full stop behind it is a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from device_asr.bundle.vocabulary import Vocabulary
from device_asr.config import PartialConfig
from device_asr.decoding.decoder import Decoder
from device_asr.events import Seconds
from device_asr.recognition.protocol import Shown, UtteranceEncoder


class LocalAgreement:
    """The `PartialPolicy` of models without a stream or without alignment: an update decodes the utterance so far.

    Args:
        encoder: encodes the utterance as it goes on; where it keeps nothing, each update encodes the audio again.
    """

    # its last words were often decoded at the cut end of the audio: a bias toward them costs the first bundle 11 words
    # of 1050, and a network without short-context distillation 51
    biased = False

    def __init__(self, decoder: Decoder, encoder: UtteranceEncoder, config: PartialConfig) -> None:
        self._decoder, self._encoder, self._config = decoder, encoder, config
        self.begin()

    def begin(self) -> None:
        """See `PartialPolicy.begin`."""
        self._agreement = Agreement(self._decoder.vocabulary, self._config.agreement)
        self.draft: tuple[int, ...] = ()
        self._positions = 0  # at the last update

    def due(self, since: Seconds, interval: Seconds) -> bool:
        """See `PartialPolicy.due`."""
        return since >= interval

    def update(self, audio: Callable[[], np.ndarray], pause: Seconds, spoken: bool) -> Shown | None:
        """See `PartialPolicy.update`."""
        pcm = audio()
        encoded = replace(self._encoder.encoded(len(pcm)) or self._decoder.encode(pcm), spoken=spoken)
        if encoded.positions == self._positions:
            return None  # a hypothesis agrees with itself, which is no evidence
        self._positions = encoded.positions
        hypothesis = self._decoder.decode(encoded, self.draft, self._agreement.committed)
        if hypothesis.looped or not self._decoder.is_speech(hypothesis):
            return None
        self.draft = hypothesis.tokens
        self._agreement.add(hypothesis.tokens)
        return Shown(hypothesis, self._agreement.committed)


class Agreement:
    """The committed tokens of one utterance; they only grow."""

    def __init__(self, vocabulary: Vocabulary, agreement: int) -> None:
        self._vocabulary, self._needed = vocabulary, agreement
        self._recent: list[tuple[int, ...]] = []
        self.committed: tuple[int, ...] = ()

    def add(self, tokens: Sequence[int]) -> None:
        """Takes the next hypothesis, which must begin with the committed tokens."""
        tokens = tuple(tokens)
        self._recent = [*self._recent, tokens][-self._needed :]
        if len(self._recent) < self._needed:
            return
        shared = _common_prefix(self._recent)
        whole = min(self._whole_words(hypothesis, shared) for hypothesis in self._recent)
        if whole > len(self.committed):
            self.committed = tokens[:whole]

    def _whole_words(self, tokens: tuple[int, ...], shared: int) -> int:
        """Length of the longest prefix within `shared` that ends before a word starts, last word excluded."""
        starts = [group[0] for group in self._vocabulary.words(tokens)]
        return max((s for s in starts if s <= shared), default=0)


def _common_prefix(sequences: Sequence[tuple[int, ...]]) -> int:
    length = 0
    for items in zip(*sequences, strict=False):
        if len(set(items)) > 1:
            break
        length += 1
    return length
