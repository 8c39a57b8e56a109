"""Texts that may be empty or not, retries, and limits, as the model's manifest and the settings say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device_asr.config import DecodingConfig
from device_asr.decoding.decoder import Decoder
from device_asr.decoding.guards import SPARE_TOKENS
from device_asr.decoding.hypothesis import Encoded, Hypothesis
from tests.support.changed_bundle import Change, changed, says
from tests.support.token_chain import POSITIONS, TokenChain

A, B = 0, 1
REST = {None: 0.0, A: 50.0, B: 51.0}
EMPTY = {None: {None: 0.1, A: 2.4, B: 9.0}, A: REST, B: REST}  # the likeliest text is none, then that of A
LOOP = {None: {A: 0.0}, A: {A: 0.0}}


def free_end(manifest: dict) -> None:
    """Whisper's vocabulary suppresses the end in the first place; another need not."""
    manifest["vocabulary"]["suppress_first"] = []


def decoder(bundle: Path, costs: dict, *changes: Change, **settings: object) -> tuple[Decoder, TokenChain, Encoded]:
    """A decoder of a changed bundle, its session, and an utterance of 5 s."""
    chain = TokenChain(bundle, costs, {})
    made = Decoder(changed(bundle, free_end, *changes), chain, DecodingConfig(**settings))
    return made, chain, replace(made.encode(np.zeros(0, np.float32)), positions=POSITIONS, seconds=5.0)


@pytest.mark.parametrize(
    ("end_first", "setting", "spoken", "text"),
    [
        ("free", "model", True, ()),
        ("free", "model", False, ()),
        ("silence", "model", True, (A,)),
        ("silence", "model", False, ()),
        ("free", "silence", True, (A,)),
        ("free", "silence", False, ()),
        ("silence", "free", True, ()),
    ],
)
@pytest.mark.parametrize("beam", [1, 2])
def test_a_text_is_not_empty_where_somebody_spoke_and_the_model_wants_it_so(
    bundle: Path, end_first: str, setting: str, spoken: bool, text: tuple[int, ...], beam: int
) -> None:
    made, _, encoded = decoder(bundle, EMPTY, says(end_first=end_first), empty_text=setting)
    found = made.decode_final(np.zeros(0, np.float32), replace(encoded, spoken=spoken), beam=beam)[1]
    assert found.tokens == text


@pytest.mark.parametrize(("seconds", "encodes"), [(4.0, 1), (0, 0)])
def test_a_loop_is_decoded_again_where_silence_helps_the_network(bundle: Path, seconds: float, encodes: int) -> None:
    made, chain, encoded = decoder(bundle, LOOP, says(retry_silence=seconds))
    before = len(chain.encoded)
    assert made.decode_final(np.zeros(16_000, np.float32), encoded)[1].looped
    assert [samples - 16_000 for samples in chain.encoded[before:]] == [64_000] * encodes


@pytest.mark.parametrize(("settings", "rate"), [({}, 6.5), ({"tokens_per_second": 3}, 3)])
def test_the_limit_of_tokens_is_the_models_unless_the_settings_have_one(
    bundle: Path, settings: dict[str, object], rate: float
) -> None:
    made, _, _ = decoder(bundle, EMPTY, says(tokens_per_second=6.5), **settings)
    assert made.guards.token_limit(4.0, 1000) == 4 * rate + SPARE_TOKENS


@pytest.mark.parametrize(("token", "silent", "believed"), [(3, 0.1, True), (3, 0.9, False), (None, 0.0, False)])
def test_a_doubtful_text_is_dropped_where_the_network_says_silence_or_cannot_say(
    bundle: Path, token: int | None, silent: float, believed: bool
) -> None:
    made, _, _ = decoder(bundle, EMPTY, says(no_speech=token))
    alignment = np.zeros((1, 2, 1), np.float32)
    assert made.is_speech(Hypothesis((A,), (-1.5,), silent, alignment, False)) is believed
    assert made.is_speech(Hypothesis((A,), (-0.5,), silent, alignment, False))
