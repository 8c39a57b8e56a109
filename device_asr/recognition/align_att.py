"""AlignAtt: shows the text whose attention ends before the last moments of the audio.

After Papi et al. 2023. Each chunk is encoded once; the decoder's text of the audio's last moments would often change
with more audio, so it is held back. Words whose attention ends before the encoder's look-ahead are committed too.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from device_asr.audio.format import SAMPLE_RATE
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.config import PartialConfig
from device_asr.decoding.alignment import attended_position
from device_asr.decoding.ctc import CtcSymbol
from device_asr.decoding.decoder import Decoder
from device_asr.decoding.hypothesis import Hypothesis
from device_asr.events import Seconds
from device_asr.recognition.protocol import Shown
from device_asr.recognition.stream_encoder import StreamEncoder

MORE_TOKENS = 24  # an update may bring as many, 6 s of speech
# chunks after the last CTC symbol that still bring updates: the last partials' WER falls by 0.4 to 1.0 %
TRAILING_CHUNKS = 2
# seconds with CTC symbols behind the last word; word emission p95 1216 -> 1140 ms (librispeech-other-dev)
STALLED_S: Seconds = 1.0
# of an utterance longer than this an update decodes the last 5 s, and what is not committed before
LONGEST_DECODED_S: Seconds = 10.0
KEPT_S: Seconds = 5.0


class AlignAtt:
    """The `PartialPolicy` of models with a stream and alignment: shows and commits by attention.

    Args:
        encoder: encodes the utterance; whoever owns it begins, feeds and ends it.
    """

    biased = True

    def __init__(self, decoder: Decoder, encoder: StreamEncoder, config: PartialConfig) -> None:
        self._decoder, self._encoder = decoder, encoder
        self._holdback = self._positions_of(config.holdback_ms)
        self._first_holdback = self._positions_of(config.first_holdback_ms)
        self._stalled_after, self._longest_decoded, self._kept = (
            self._positions_of(round(1000 * seconds)) for seconds in (STALLED_S, LONGEST_DECODED_S, KEPT_S)
        )
        self.begin()

    def _positions_of(self, ms: int) -> int:
        return ms * SAMPLE_RATE // (1000 * self._encoder.samples_per_position)

    def begin(self) -> None:
        """See `PartialPolicy.begin`."""
        self._committed: tuple[int, ...] = ()
        self._last: Hypothesis | None = None
        self._skipped = 0  # first tokens of the utterance that are not decoded again
        self._first = 0  # the position from which the others are decoded
        self._read: tuple[CtcSymbol | None, int] | None = None  # the evidence at the last update
        self._showing = False

    @property
    def draft(self) -> tuple[int, ...]:
        """See `PartialPolicy.draft`."""
        return self._last.tokens if self._last is not None else ()

    def due(self, since: Seconds, interval: Seconds) -> bool:
        """See `PartialPolicy.due`; an update comes with a chunk, the one nearest to the interval."""
        fresh = self._encoder.completed > 0
        if not self._showing and self._wants_preview():
            self._encoder.preview()
            fresh = True
        if self._evidence() == self._read:
            return False  # there is nothing new, so the decoder is not asked
        if self._read is None:
            return True  # the first update comes with the first evidence
        nearest = interval - self._encoder.chunk_samples / SAMPLE_RATE / 2
        return fresh and (not self._showing or since >= nearest)

    def _wants_preview(self) -> bool:
        """Whether half a chunk waits that was not encoded: the first word need not wait for the whole chunk."""
        return not self._encoder.previewed and self._encoder.waiting >= self._encoder.chunk_samples // 2

    def _evidence(self) -> tuple[CtcSymbol | None, int] | None:
        """The last CTC symbol, and the number of chunks after it, `TRAILING_CHUNKS` at most; None: no symbol.

        With more chunks after the symbol the decoder may write another text. Without a CTC head, the number of
        positions: every chunk may bring words.
        """
        if not self._encoder.emits:
            return (None, self._encoder.positions) if self._encoder.positions else None
        symbol = self._encoder.last_symbol
        if symbol is None:
            return None
        chunks = (self._encoder.positions - 1 - symbol.frame) // self._encoder.chunk_positions
        return symbol, min(chunks, TRAILING_CHUNKS)

    def update(self, audio: Callable[[], np.ndarray], pause: Seconds, spoken: bool) -> Shown | None:
        """See `PartialPolicy.update`."""
        self._read = self._evidence()
        holdback = self._holdback_after(pause)
        hypothesis = self._decode(holdback, spoken)
        if hypothesis is None:
            return None
        self._last = hypothesis
        ends = attended_until(hypothesis)
        if self._stalled(ends):
            hypothesis = self._decode_behind(hypothesis, int(ends.max()) + 1, holdback)
            ends = attended_until(hypothesis)
        self._commit(hypothesis, ends)
        shown = self._shown_tokens(hypothesis, ends, holdback)
        self._showing |= shown > 0
        if self._encoder.positions - self._first > self._longest_decoded:
            self._skip_committed(ends)
        return Shown(hypothesis.first(shown), self._committed) if shown else None

    def _holdback_after(self, pause: Seconds) -> int:
        """Positions to hold back: as many fewer as the pause has, because the last word before it is whole."""
        return max(0, self._holdback - round(pause * SAMPLE_RATE / self._encoder.samples_per_position))

    def _decode(self, holdback: int, spoken: bool) -> Hypothesis | None:
        """The text of the utterance so far, skipped tokens included; None: too short, no speech, or a loop.

        It ends with the first token that attends to the last `holdback` positions: no word behind that one is shown,
        and many loops begin there.
        """
        encoded = self._encoder.encoded(first=self._first, spoken=spoken and not self._first)
        if encoded is None:
            return None
        before = encoded.positions - (holdback if self._showing else min(holdback, self._first_holdback))
        found = self._decoder.decode(
            encoded,
            self.draft[self._skipped :],
            self._committed[self._skipped :],
            more=MORE_TOKENS,
            enough=lambda attention: len(attention) > 0 and attended_position(attention) >= before,
        )
        if found.looped or not self._decoder.is_speech(found):
            return None
        if self._skipped and self._last is not None:
            return found.behind(self._last, self._skipped, self._first)
        return found

    def _stalled(self, ends: np.ndarray) -> bool:
        """Whether CTC symbols came so long after the last word that the decoder has taken that one for the end."""
        symbol = self._encoder.last_symbol
        return symbol is not None and symbol.frame - int(ends.max()) >= self._stalled_after

    def _decode_behind(self, hypothesis: Hypothesis, position: int, holdback: int) -> Hypothesis:
        """Commits the whole hypothesis and decodes from `position` on; the hypothesis itself where that brings none."""
        self._committed, self._skipped, self._first = hypothesis.tokens, len(hypothesis.tokens), position
        further = self._decode(holdback, spoken=False)
        if further is None:
            return hypothesis
        self._last = further
        return further

    def _commit(self, hypothesis: Hypothesis, ends: np.ndarray) -> None:
        """Commits words that attend to settled positions before the holdback, the last word excluded: it may go on."""
        vocabulary = self._decoder.vocabulary
        stable = attended_tokens(hypothesis, vocabulary, ends, self._encoder.settled - self._holdback)
        count = min(stable, vocabulary.words(hypothesis.tokens)[-1][0])
        if count > len(self._committed):
            self._committed = hypothesis.tokens[:count]

    def _shown_tokens(self, hypothesis: Hypothesis, ends: np.ndarray, holdback: int) -> int:
        """The number of tokens to show: those before the holdback, and at least the committed ones.

        An utterance's first word has a holdback of its own; with the other one it would come a chunk later.
        """
        vocabulary, end = self._decoder.vocabulary, self._encoder.positions
        shown = max(attended_tokens(hypothesis, vocabulary, ends, end - holdback), len(self._committed))
        if shown == 0 and not self._showing:
            first = vocabulary.words(hypothesis.tokens)[0]
            shown = min(attended_tokens(hypothesis, vocabulary, ends, end - self._first_holdback), first[-1] + 1)
        return shown

    def _skip_committed(self, ends: np.ndarray) -> None:
        """Committed words whose attention ends before the last `KEPT_S` are not decoded again.

        So the cost of an update does not grow with the utterance.
        """
        latest = self._encoder.positions - self._kept
        for group in self._decoder.vocabulary.words(self._committed):
            if group[0] >= self._skipped and ends[group[-1]] < latest:
                self._skipped, self._first = group[-1] + 1, max(self._first, int(ends[group[-1]]) + 1)


def attended_until(hypothesis: Hypothesis) -> np.ndarray:
    """(tokens,) int: the position up to which each token attends, with the share `ATTENDED` of its attention."""
    return attended_position(hypothesis.alignment[:, : len(hypothesis.tokens)])


def attended_tokens(hypothesis: Hypothesis, vocabulary: Vocabulary, ends: np.ndarray, before: int) -> int:
    """The number of tokens of the first words that attend to positions before `before`.

    Punctuation behind the last of these words may be left out: its attention often lies in the pause that follows.

    Args:
        ends: the value of `attended_until`.
    """
    late = np.flatnonzero(ends >= before)
    early = int(late[0]) if len(late) else len(hypothesis.tokens)
    for group in vocabulary.words(hypothesis.tokens):
        rest = [hypothesis.tokens[k] for k in group if k >= early]
        if group[0] < early and any(symbol.isalnum() for symbol in vocabulary.decode(rest)):
            return group[0]
    return early
