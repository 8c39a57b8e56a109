"""Tries settings, one after another, within a bounded time, and chooses among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

from device_asr.doctor.measure import Candidate, Run, common
from device_asr.events import Seconds

BUDGET: Seconds = 40.0  # all candidates together, loading included; the last one may end up to SHARE later
SHARE: Seconds = 8.0  # of computation for one candidate: an utterance and its final even at half the speed of speech
FOR_THREADS = 0.5  # of the budget, to find the number of threads; the rest is for lighter settings
MOST_THREADS = 4
# A thread more is taken when it saves this part of the time. Below, the processor is better left to other programs.
WORTH_A_THREAD = 0.15
LONG_FINAL: Seconds = 1.0  # of computation for a final: longer feels like waiting
Try = Callable[[Candidate, Seconds], Run]


@dataclass(frozen=True)
class Trials:
    """All that was tried, in order, and the one that is recommended.

    recommended: the first that keeps up; None: none does.
    reasons: key of a setting -> why it is recommended so.
    """

    runs: Sequence[Run]
    recommended: Run | None
    reasons: dict[str, str]


def thread_counts(usable: int | None, wanted: int | None = None) -> list[int]:
    """How many threads may be tried, in this order; `wanted` by the person: only that."""
    return [wanted] if wanted is not None else list(range(1, min(usable or 1, MOST_THREADS) + 1))


def lighter(best: Candidate, streams: bool) -> list[Candidate]:
    """What is tried after `best`, each less work than the one before it.

    Args:
        streams: the model has the method `stream`, so finals can come from it.
    """
    found = []
    if streams:
        found.append(replace(best, final="stream"))
    found.append(replace(found[-1] if found else best, interval_ms=2 * best.interval_ms))
    found.append(replace(best, partials=False, beam=1))
    return found


def fewest_threads(runs: Sequence[Run]) -> Run:
    """Of runs in the order of their threads: the last that saved enough; compared over the audio that all computed."""
    seconds = common(runs)
    chosen = runs[0]
    for run in runs[1:]:
        if (run.rtf(seconds) or 0.0) < (1 - WORTH_A_THREAD) * (chosen.rtf(seconds) or 0.0):
            chosen = run
    return chosen


def is_quick(run: Run) -> bool:
    """Whether the settings keep up and no final is waited for."""
    return run.keeps_up and (run.meter.finalization_no_hangover.p95 or 0.0) <= LONG_FINAL


def try_all(
    counts: Sequence[int],
    streams: bool,
    attempt: Try,
    budget: Seconds = BUDGET,
    clock: Callable[[], float] = perf_counter,
) -> Trials:
    """Tries the default settings with each number of threads, and lighter settings where those do not keep up.

    Finals without partials are tried in any case before the answer is no.

    Args:
        counts: of threads, ascending.
        attempt: runs a candidate for at most so many seconds of computation.

    Raises:
        DeviceAsrError: what `attempt` raised.
    """
    began = clock()
    mode = "stream" if streams else "reencode"
    share = min(SHARE, FOR_THREADS * budget / len(counts))
    runs: list[Run] = []
    for threads in counts:
        if not runs or clock() - began < FOR_THREADS * budget:
            runs.append(attempt(Candidate(threads, mode=mode), share))
    best = fewest_threads(runs)
    reasons = {"model.threads": _why_threads(runs)}
    if is_quick(best):
        return Trials(runs, best, {**reasons, **_why_defaults(best)})
    chosen = best if best.keeps_up else None
    for candidate in lighter(best.candidate, streams):
        left = budget - (clock() - began)
        needed = not candidate.partials and chosen is None
        if not needed and (left <= 0 or not candidate.partials):
            continue
        tried = attempt(candidate, SHARE if needed else min(SHARE, left / 2))
        runs.append(tried)
        if tried.keeps_up and (chosen is None or is_quick(tried)):
            chosen = tried
        if is_quick(tried):
            break
    reasons = {**reasons, **_why_lighter(best, chosen)} if chosen else {}
    return Trials(runs, chosen, reasons)


def _why_threads(runs: Sequence[Run]) -> str:
    """The computation of a second of speech with each number of threads that was tried."""
    seconds = common(runs)
    told = ", ".join(f"{run.rtf(seconds) or 0:.2f} s with {run.candidate.threads}" for run in runs)
    if len(runs) == 1:
        return f"a second of speech takes {told}"
    return f"a second of speech takes {told}; a thread more must save {WORTH_A_THREAD:.0%}"


def _why_defaults(best: Run) -> dict[str, str]:
    mode = "each chunk is encoded once" if best.candidate.mode == "stream" else "the model cannot stream"
    return {
        "partial.enabled": "partials keep up",
        "partial.mode": mode,
        "partial.interval_ms": "the default keeps up",
        "final.mode": "full context is the most accurate, and finals come in time",
        "final.beam": "without effect, as there are partials",
    }


def _why_lighter(first: Run, chosen: Run) -> dict[str, str]:
    """Why `chosen` differs from the default settings, which `first` ran with."""
    found = _why_defaults(chosen)
    was = f"the defaults take {first.rtf() or 0:.2f} s for a second of speech"
    if first is chosen:
        wait = first.meter.finalization_no_hangover.p95 or 0.0
        found["final.mode"] = f"finals take up to {wait:.1f} s, and nothing lighter that was tried does better"
    if chosen.candidate.final == "stream":
        found["final.mode"] = f"{was}; a final from the stream needs no second encoding, and is less accurate"
    if chosen.candidate.interval_ms != first.candidate.interval_ms:
        found["partial.interval_ms"] = f"{was}; half as many updates"
    if not chosen.candidate.partials:
        found["partial.enabled"] = f"{was}; finals alone keep up"
        found["partial.interval_ms"] = found["partial.mode"] = "without effect, as there are no partials"
        found["final.beam"] = "greedy search, as two hypotheses take longer"
    return found
