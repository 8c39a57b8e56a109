"""Endpointing: hysteresis, pre-roll, hang-over, and a cut that loses no frame."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from device_asr.audio.format import STEP_MS
from device_asr.config import EndpointConfig
from device_asr.recognition.endpoint import Closed, Endpointer, Opened

CONFIG = EndpointConfig()


def run(probabilities: list[float], config: EndpointConfig = CONFIG, levels: list[float] | None = None) -> list:
    endpointer = Endpointer(config)
    levels = levels or [0.0] * len(probabilities)
    found = [endpointer.feed(p, level) for p, level in zip(probabilities, levels, strict=True)]
    return [change for change in found if change is not None]


def test_an_utterance_opens_with_preroll_and_closes_after_the_hangover() -> None:
    changes = run([0.0] * 50 + [0.9] * 30 + [0.0] * 50)
    assert changes == [Opened(50, 50 - 10), Closed(50 + 30 + 19, 80)]
    assert CONFIG.hangover_ms <= 19 * STEP_MS


def test_a_click_is_not_speech() -> None:
    assert run([0.0] * 20 + [0.9] * 2 + [0.0] * 50) == []


def test_a_dip_between_the_thresholds_does_not_end_an_utterance() -> None:
    changes = run([0.0] * 20 + [0.9] * 10 + [0.4] * 40 + [0.9] * 10 + [0.0] * 40)
    assert [type(c) for c in changes] == [Opened, Closed]


def test_other_evidence_of_speech_counts_the_hangover_anew() -> None:
    endpointer, closed = Endpointer(CONFIG), None
    for frame, probability in enumerate([0.9] * 20 + [0.0] * 60):
        change = endpointer.feed(probability, 0.0)
        if frame == 30:
            endpointer.spoke(30)
            endpointer.spoke(25)  # older evidence changes nothing, and none reaches into the future
            endpointer.spoke(31)
        if isinstance(change, Closed):
            closed = change
    assert closed == Closed(31 + 19, 31)
    endpointer.spoke(500)
    assert not endpointer.open, "no evidence opens an utterance"


def test_preroll_does_not_reach_into_the_utterance_before() -> None:
    changes = run([0.9] * 20 + [0.0] * 20 + [0.9] * 20 + [0.0] * 40)
    first, second = changes[1], changes[2]
    assert isinstance(first, Closed) and isinstance(second, Opened)
    assert second.start >= first.end


def test_a_long_utterance_is_cut_at_its_quietest_point() -> None:
    config = EndpointConfig(longest_utterance_s=5.0)
    frames = int(5.0 * 1000 / STEP_MS)
    probabilities = [0.9] * (2 * frames)
    quiet = frames - 40
    for k in range(quiet - 4, quiet + 5):
        probabilities[k] = 0.45
    cut = next(c for c in run(probabilities, config) if isinstance(c, Closed))
    assert cut.forced and abs(cut.end - quiet) <= 3


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10_000), speech=st.floats(0.3, 1.0))
def test_utterances_are_in_order_without_overlap_and_cuts_lose_no_frame(seed: int, speech: float) -> None:
    config = EndpointConfig(longest_utterance_s=5.0)
    rng = np.random.default_rng(seed)
    probabilities = np.repeat(rng.random(60) < speech, rng.integers(1, 40, 60)).astype(float).tolist()
    start, end = None, 0
    for change in run(probabilities, config):
        if isinstance(change, Opened):
            assert start is None and change.start >= end
            start = change.start
        else:
            assert start is not None and start < change.end <= start + int(5000 / STEP_MS) + 20
            end = change.end
            start = end if change.forced else None
