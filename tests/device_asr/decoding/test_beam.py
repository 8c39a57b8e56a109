"""Beam search: a text that begins less likely may be the likelier one in the end."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_asr import config
from device_asr.bundle.bundle import load
from device_asr.config import DecodingConfig
from device_asr.decoding.beam import CUT_SHORT_S, beam_search
from device_asr.decoding.decoder import Decoder
from device_asr.decoding.hypothesis import Encoded, Hypothesis
from device_asr.recognition.assemble import assemble
from device_asr.recognition.vad import VoiceActivityDetector
from tests.support.token_chain import chained

A, B, C, D = 0, 1, 2, 3
CUT_SHORT = round(CUT_SHORT_S / 0.02)  # positions


def nats(after: dict[int | None, dict[int | None, float]]) -> dict[int | None, dict[int | None, float]]:
    """Costs of probabilities."""
    return {last: {following: -math.log(p) for following, p in others.items()} for last, others in after.items()}


def probability(found: Hypothesis) -> float:
    return float(np.exp(sum(found.logprobs) + found.ending))


LATER_LIKELIER = nats({None: {A: 0.6, B: 0.4}, A: {C: 0.5, D: 0.5}, B: {D: 1.0}, C: {None: 1.0}, D: {None: 1.0}})


def test_a_text_that_begins_less_likely_is_found(bundle: Path) -> None:
    decoder, _, encoded = chained(bundle, LATER_LIKELIER)
    greedy = decoder.decode(encoded)
    assert greedy.tokens[0] == A and probability(greedy) == pytest.approx(0.3)
    found = beam_search(decoder.program, decoder.guards, encoded, greedy, 2)
    assert found.tokens == (B, D) and probability(found) == pytest.approx(0.4)


def test_it_is_asked_for(bundle: Path) -> None:
    decoder, _, encoded = chained(bundle, LATER_LIKELIER)
    silence = np.zeros(32_000, np.float32)
    assert decoder.decode_final(silence, encoded, beam=1)[1].tokens[0] == A
    assert decoder.decode_final(silence, encoded, beam=2)[1].tokens == (B, D)


def test_noise_has_no_text_whatever_the_width(bundle: Path) -> None:
    """Where the greedy text is empty, or doubtful and no speech was heard, no likelier one is sought."""
    decoder, chain, encoded = chained(bundle, nats({None: {None: 0.6, A: 0.4}, A: {None: 1.0}}))
    assert decoder.decode_final(np.zeros(32_000, np.float32), encoded, beam=4)[1].tokens == ()
    assert len(chain.calls) == 1
    nothing = load(str(bundle), verify=False).vocabulary().no_speech
    doubtful = {None: {nothing: 0.0, A: 3.0, B: 3.1, C: 3.1, D: 3.1}, A: {None: 0.0}, B: {None: 0.0}}
    decoder, chain, encoded = chained(bundle, doubtful)
    found = decoder.decode_final(np.zeros(32_000, np.float32), encoded, beam=4)[1]
    assert found.tokens == (A,) and not decoder.is_speech(found)
    assert len(chain.calls) == 2


@pytest.mark.parametrize(("last", "text"), [(CUT_SHORT + 10, (A, B)), (CUT_SHORT + 11, (C, D))])
def test_a_text_that_ends_long_before_the_sound_does_is_none(bundle: Path, last: int, text: tuple[int, ...]) -> None:
    """(A, B) is the likelier one; its B is heard at position 10, the greedy text's D at `last`."""
    costs = nats({None: {A: 0.45, C: 0.55}, A: {B: 1.0}, C: {D: 0.6, A: 0.4}, B: {None: 1.0}, D: {None: 1.0}})
    decoder, _, encoded = chained(bundle, costs, {A: 10, C: last})
    greedy = decoder.decode(encoded)
    assert greedy.tokens == (C, D)
    assert beam_search(decoder.program, decoder.guards, encoded, greedy, 2).tokens == text


def test_a_loop_is_not_followed(bundle: Path) -> None:
    costs = nats({None: {A: 0.5, B: 0.5}, A: {A: 0.99, D: 0.01}, B: {D: 1.0}, D: {None: 1.0}})
    decoder, _, encoded = chained(bundle, costs)
    greedy = Hypothesis((B, D), (-0.7, 0.0), 0.0, np.zeros((1, 3, 50), np.float32), False)
    assert beam_search(decoder.program, decoder.guards, encoded, greedy, 2).tokens == (B, D)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), width=st.integers(2, 4))
def test_texts_do_not_disturb_one_another(bundle: Path, seed: int, width: int) -> None:
    """Through the real program: each text's log-probabilities are those that it has by itself."""
    opened = load(str(bundle), verify=False)
    decoder = Decoder(opened, opened.session("speech", 1), DecodingConfig(tokens_per_second=2))
    encoded = decoder.encode(np.random.default_rng(seed).normal(0, 0.1, 16_000).astype(np.float32))
    greedy = decoder.decode(encoded)
    found = beam_search(decoder.program, decoder.guards, encoded, greedy, width)
    alone = decoder.decode(encoded, forced=found.tokens)
    count = len(found.tokens)
    assert found.tokens == alone.tokens[:count]
    np.testing.assert_allclose(found.logprobs, alone.logprobs[:count], atol=1e-4)
    np.testing.assert_allclose(found.alignment[:, :count], alone.alignment[:, :count], atol=1e-5)


@pytest.mark.parametrize(
    ("flags", "bias", "beam"),
    [
        ({}, 1.0, 1),
        ({"partial.mode": "reencode"}, 0.0, 1),
        ({"partial.enabled": False}, 0.0, 2),
        ({"partial.enabled": False, "final.beam": 3}, 0.0, 3),
    ],
)
def test_a_final_stays_near_what_the_stream_has_shown(
    bundle: Path, flags: dict[str, Any], bias: float, beam: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A beam is for finals alone; words that were heard without their end have no bias."""
    asked: list[tuple[float, int]] = []
    decode_final = Decoder.decode_final

    def noted(
        self: Decoder, pcm: np.ndarray, encoded: Encoded, draft: tuple[int, ...], bias: float, beam: int
    ) -> tuple[Encoded, Hypothesis]:
        asked.append((bias, beam))
        return decode_final(self, pcm, encoded, draft, bias, beam)

    monkeypatch.setattr(Decoder, "decode_final", noted)
    monkeypatch.setattr(VoiceActivityDetector, "__call__", lambda self, frame: 0.9)
    recognizer = assemble(config.load(environ={}, flags={"model.name": str(bundle), **flags}).config)
    recognizer._encoder.no_voice = lambda: False  # type: ignore[method-assign]
    recognizer.feed(np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32))
    recognizer.finish()
    assert asked == [(bias, beam)]
