"""Decoder: encodes and decodes utterances with a bundle's speech program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from device_asr.audio.format import SAMPLE_RATE
from device_asr.bundle.bundle import Bundle
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.config import DecodingConfig
from device_asr.decoding.beam import beam_search
from device_asr.decoding.greedy import greedy_search
from device_asr.decoding.guards import Guards
from device_asr.decoding.hypothesis import Encoded, Hypothesis
from device_asr.decoding.program import DecodeProgram
from device_asr.runtime.session import Session


class Decoder:
    """Greedy and beam search over a bundle's `encode` and `decode`, with the guards that the settings ask for."""

    def __init__(self, bundle: Bundle, session: Session, config: DecodingConfig) -> None:
        self.program = DecodeProgram(bundle, session, config.empty_text)
        self.guards = Guards(config, self.program.vocabulary, self.program.speech.tokens_per_second)

    @property
    def vocabulary(self) -> Vocabulary:
        """The bundle's tokens."""
        return self.program.vocabulary

    @property
    def position_s(self) -> float:
        """Seconds of audio of one encoder position."""
        return self.program.position_s

    def encode(self, pcm: np.ndarray) -> Encoded:
        """Encodes (n,) float32 at 16 kHz; see `DecodeProgram.encode`."""
        return self.program.encode(pcm)

    def decode(
        self,
        encoded: Encoded,
        draft: Sequence[int] = (),
        forced: Sequence[int] = (),
        bias: float = 0.0,
        more: int | None = None,
        enough: Callable[[np.ndarray], bool] | None = None,
    ) -> Hypothesis:
        """The greedy text of an utterance; see `greedy_search`."""
        return greedy_search(self.program, self.guards, encoded, draft, forced, bias, more, enough)

    def decode_final(
        self, pcm: np.ndarray, encoded: Encoded, draft: Sequence[int] = (), bias: float = 0.0, beam: int = 1
    ) -> tuple[Encoded, Hypothesis]:
        """Decodes a finished utterance; where a guard cut a loop, once more with silence behind it.

        Whisper stops where the audio ends; other networks do not, see `Speech.retry_silence`.

        Args:
            pcm: the utterance, (n,) float32 at 16 kHz. draft, bias: see `greedy_search`.
            beam: number of texts that a beam search follows, see `beam.py`; 1: only the greedy one.

        Returns:
            The better text, and the encoding that it was decoded from.
        """
        hypothesis = self.decode(encoded, draft, bias=bias)
        if beam > 1 and not hypothesis.looped and self.is_speech(hypothesis):
            return encoded, beam_search(self.program, self.guards, encoded, hypothesis, beam)
        silence = int(self.program.speech.retry_silence * SAMPLE_RATE)
        if not hypothesis.looped or not self.guards.config.guards or not silence:
            return encoded, hypothesis
        longer = replace(self.encode(np.concatenate([pcm, np.zeros(silence, np.float32)])), spoken=encoded.spoken)
        again = self.decode(longer)
        if again.looped and again.mean_logprob <= hypothesis.mean_logprob:
            return encoded, hypothesis
        return longer, again

    def is_speech(self, hypothesis: Hypothesis) -> bool:
        """Whether to believe the text; see `Guards.is_speech`."""
        return self.guards.is_speech(hypothesis)
