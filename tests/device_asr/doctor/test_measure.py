"""The simulated live clock: lag, latency and early ends, with recognizers whose costs are given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from device_asr.audio.format import SAMPLE_RATE, STEP, STEP_S
from device_asr.config import Config
from device_asr.doctor.measure import HOPELESS, Candidate, run
from device_asr.events import Event
from tests.support.scripted import Scripted, utterance


class Clock:
    """Stands still until something takes time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(Scripted):
    """Takes `cost` seconds of the clock for each 32 ms, `partial_cost` less where partials are off."""

    def __init__(self, clock: Clock, cost: float, *scripts: list[Event], partial_cost: float = 0.0) -> None:
        super().__init__(*scripts)
        self._clock, self._step, self._partial = clock, cost, partial_cost
        self.backlogs: list[float] = []

    def feed(self, pcm: np.ndarray, *, backlog: float = 0.0) -> list[Event]:
        self.backlogs.append(backlog)
        self._clock.now += self._step + (self._partial if self.partial_interval else 0.0)
        return super().feed(pcm, backlog=backlog)


def speech(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * SAMPLE_RATE), np.float32)


def script() -> list[Event]:
    return utterance(("hello", 1.2), at=1.8)


def measured(cost: float, seconds: float = 6.0, limit: float = 100.0, partial_cost: float = 0.0) -> tuple[Slow, object]:
    clock = Clock()
    recognizer = Slow(clock, cost, script(), partial_cost=partial_cost)
    return recognizer, run(recognizer, Candidate(2), speech(seconds), limit, clock)


def test_a_fast_machine_has_the_latency_of_the_policy_and_no_lag() -> None:
    recognizer, found = measured(0.001)
    assert found.whole and found.keeps_up and not found.held_back  # type: ignore[attr-defined]
    assert found.rtf() == pytest.approx(0.001 / STEP_S)  # type: ignore[attr-defined]
    assert found.lag == pytest.approx(0.001)  # type: ignore[attr-defined]
    assert found.meter.first_partial.p50 == pytest.approx(0.5 + 0.001, abs=STEP_S)  # type: ignore[attr-defined]
    assert found.meter.finalization.p50 == pytest.approx(0.6 + 0.001, abs=STEP_S)  # type: ignore[attr-defined]
    assert max(recognizer.backlogs) == 0


def test_computation_that_takes_longer_than_speech_piles_up_as_a_lag_that_the_recognizer_is_told_of() -> None:
    recognizer, found = measured(2 * STEP_S, seconds=4.0)
    assert not found.keeps_up and found.held_back  # type: ignore[attr-defined]
    assert found.lag == pytest.approx(4.0, abs=0.2)  # type: ignore[attr-defined]
    assert recognizer.backlogs[1] == pytest.approx(STEP_S)
    assert found.meter.finalization.p50 == pytest.approx(0.6 + 1.8, abs=0.2)  # type: ignore[attr-defined]


def test_partials_are_given_up_as_in_live_dictation_and_that_does_not_count_as_keeping_up() -> None:
    recognizer, found = measured(0.5 * STEP_S, seconds=12.0, partial_cost=STEP_S)
    assert recognizer.partial_interval is None, "the last step: no partials"
    assert found.held_back > 0.25 and not found.keeps_up  # type: ignore[attr-defined]


def test_a_lag_behind_a_final_is_allowed_where_there_are_no_partials() -> None:
    class LongFinal(Slow):
        def feed(self, pcm: np.ndarray, *, backlog: float = 0.0) -> list[Event]:
            events = super().feed(pcm, backlog=backlog)
            self._clock.now += 4.0 if events and len(events) > 1 else 0.0
            return events

    clock = Clock()
    for partials, keeps_up in ((False, True), (True, False)):
        recognizer = LongFinal(clock, 0.001, script())
        recognizer.partial_interval = 0.48 if partials else None
        found = run(recognizer, Candidate(1, partials=partials), speech(6.0), 100.0, clock)
        assert found.keeps_up is keeps_up and found.lag > 3


@pytest.mark.parametrize(("cost", "limit", "audio"), [(STEP_S, 2.0, 2.0), (4 * STEP_S, 100.0, HOPELESS / 3)])
def test_it_ends_when_the_time_is_over_or_the_answer_is_clear(cost: float, limit: float, audio: float) -> None:
    _, found = measured(cost, seconds=60.0, limit=limit)
    assert not found.whole and found.audio == pytest.approx(audio, abs=0.2)  # type: ignore[attr-defined]


def test_without_a_final_nothing_is_promised() -> None:
    _, found = measured(0.001, seconds=1.0)
    assert found.meter.finals == 0 and not found.keeps_up  # type: ignore[attr-defined]


def test_the_cost_over_a_shorter_beginning_is_told_too() -> None:
    clock = Clock()
    found = run(Slow(clock, 0.016, script()), Candidate(1), speech(3.2), 100.0, clock)
    assert found.rtf(1.6) == pytest.approx(0.5) and len(found.costs) == 3.2 * SAMPLE_RATE / STEP


def test_a_candidate_changes_the_settings_it_names_and_no_other() -> None:
    candidate = Candidate(3, False, "reencode", 960, "stream", 1)
    config = candidate.applied(Config())
    settings = {key: getattr(getattr(config, key.split(".")[0]), key.split(".")[1]) for key in candidate.settings()}
    assert settings == candidate.settings()
    assert config.endpoint == Config().endpoint and config.partial.holdback_ms == Config().partial.holdback_ms


def shares(values: Sequence[float]) -> bool:
    return list(values) == sorted(values) and values[-1] == 1.0


def test_progress_goes_from_the_first_chunk_to_the_whole() -> None:
    seen: list[float] = []
    clock = Clock()
    run(Slow(clock, 0.001, script()), Candidate(1), speech(1.0), 9.0, clock, seen.append)
    assert shares(seen)
