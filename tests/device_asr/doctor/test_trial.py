"""Which settings are tried, and which are recommended, on machines of any speed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from device_asr.audio.format import STEP_S
from device_asr.doctor.measure import Candidate, Run
from device_asr.doctor.trial import BUDGET, SHARE, Trials, fewest_threads, thread_counts, try_all
from device_asr.events import Final, Word
from device_asr.metrics.latency import LatencyMeter


def ran(candidate: Candidate, rtf: float, final: float = 0.2, audio: float = 8.0) -> Run:
    """A run that took `rtf`, and `final` seconds for its final."""
    meter = LatencyMeter(wall=lambda seconds: seconds)
    meter.add(Final(0, "hi", 1.0, 2.0, 2.6, (Word("hi", 1.0, 2.0, 0.9),), 0.9), 2.6 + final)
    lag = final if rtf < 1 else 5.0
    steps = int(audio / STEP_S)
    return Run(
        candidate, [rtf * STEP_S] * steps, meter, audio, False, lag, held_back=float(candidate.partials and rtf > 1)
    )


class Machine:
    """A machine whose runs take `cost(candidate)`; its clock goes on by what they take, and by `load` each."""

    def __init__(self, cost: Callable[[Candidate], float], load: float = 1.0, final: float = 0.2) -> None:
        self.now, self._cost, self._load, self._final = 0.0, cost, load, final
        self.tried: list[Candidate] = []
        self.limits: list[float] = []

    def attempt(self, candidate: Candidate, limit: float) -> Run:
        self.tried.append(candidate)
        self.limits.append(limit)
        rtf = self._cost(candidate)
        seconds = min(60.0, limit / rtf)
        self.now += self._load + rtf * seconds
        final = self._final / (4 if candidate.final == "stream" else 1)
        return ran(candidate, rtf, final, seconds)

    def trials(self, counts: list[int], streams: bool = True) -> Trials:
        return try_all(counts, streams, self.attempt, clock=lambda: self.now)


def partial_cost(base: float, partials: float, second_encoding: float = 0.0) -> Callable[[Candidate], float]:
    def cost(candidate: Candidate) -> float:
        shown = partials * 480 / candidate.interval_ms if candidate.partials else 0.0
        again = second_encoding if candidate.final == "full" and candidate.partials else 0.0
        return (base + shown + again) / candidate.threads**0.5

    return cost


def test_threads_are_tried_from_one_to_the_processors_that_may_be_used() -> None:
    assert thread_counts(2) == [1, 2] and thread_counts(4) == [1, 2, 3, 4] == thread_counts(64)
    assert thread_counts(None) == [1] and thread_counts(4, wanted=3) == [3]


def test_a_thread_more_must_be_worth_it() -> None:
    runs = [ran(Candidate(threads), rtf) for threads, rtf in ((1, 0.50), (2, 0.30), (3, 0.28), (4, 0.27))]
    assert fewest_threads(runs).candidate.threads == 2


def test_threads_are_compared_over_the_audio_that_all_computed() -> None:
    quick_start = Run(Candidate(1), [0.01] * 100 + [0.1] * 100, LatencyMeter(), 6.4, False, 0.0, 0.0)
    cut_short = Run(Candidate(2), [0.02] * 100, LatencyMeter(), 3.2, False, 0.0, 0.0)
    assert fewest_threads([quick_start, cut_short]).candidate.threads == 1


def test_a_fast_machine_keeps_the_defaults_and_every_number_of_threads_is_measured() -> None:
    machine = Machine(partial_cost(0.03, 0.03))
    trials = machine.trials([1, 2, 3, 4])
    assert [candidate.threads for candidate in machine.tried] == [1, 2, 3, 4]
    assert (
        trials.recommended
        and trials.recommended.candidate.settings().items()
        >= {
            "partial.enabled": True,
            "partial.mode": "stream",
            "partial.interval_ms": 480,
            "final.mode": "full",
        }.items()
    )
    assert set(trials.reasons) == set(Candidate(1).settings())


@pytest.mark.parametrize(
    ("cost", "wanted"),
    [
        (partial_cost(0.4, 0.2, 0.4), Candidate(1, final="stream")),
        (partial_cost(0.4, 0.6), Candidate(1, final="stream", interval_ms=960)),
        (partial_cost(0.7, 1.0), Candidate(1, partials=False, beam=1)),
    ],
)
def test_a_slow_machine_gets_the_first_lighter_settings_that_keep_up(
    cost: Callable[[Candidate], float], wanted: Candidate
) -> None:
    trials = Machine(cost).trials([1])
    assert trials.recommended is not None and trials.recommended.candidate == wanted
    assert "the defaults take" in " ".join(trials.reasons.values())


def test_a_machine_that_is_too_slow_for_anything_gets_a_no_after_finals_alone_were_tried() -> None:
    machine = Machine(partial_cost(3.0, 2.0), load=8.0)
    trials = machine.trials([1, 2, 3, 4])
    assert trials.recommended is None and trials.reasons == {}
    assert machine.tried[-1].partials is False


@pytest.mark.parametrize("rtf", [0.05, 0.3, 0.9, 2.0, 20.0])
def test_the_whole_takes_a_bounded_time(rtf: float) -> None:
    machine = Machine(lambda candidate: rtf, load=4.0)
    machine.trials([1, 2, 3, 4])
    assert machine.now <= BUDGET + SHARE + 2 * 4.0 and max(machine.limits) <= SHARE


def test_finals_that_are_waited_for_come_from_the_stream() -> None:
    trials = Machine(partial_cost(0.3, 0.1), final=1.3).trials([1])
    assert trials.recommended is not None and trials.recommended.candidate.final == "stream"


def test_partials_are_not_given_up_for_a_quicker_final() -> None:
    machine = Machine(partial_cost(0.3, 0.1), final=1.3)
    trials = machine.trials([1], streams=False)
    assert [candidate.interval_ms for candidate in machine.tried if candidate.partials] == [480, 960]
    assert all(candidate.partials for candidate in machine.tried)
    assert trials.recommended is not None and trials.recommended.candidate.interval_ms == 480


def test_a_model_that_cannot_stream_is_tried_without_it() -> None:
    machine = Machine(partial_cost(0.5, 0.6))
    trials = machine.trials([1], streams=False)
    assert {(candidate.mode, candidate.final) for candidate in machine.tried} == {("reencode", "full")}
    assert trials.recommended is not None and trials.recommended.candidate.interval_ms == 960
