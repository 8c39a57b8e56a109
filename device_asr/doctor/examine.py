"""The examination: facts, measurement, microphone, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import perf_counter

from device_asr.bundle.bundle import Bundle, load
from device_asr.config import Config
from device_asr.dictation.history import folder
from device_asr.doctor.capacity import check_disk, check_memory
from device_asr.doctor.check import Check
from device_asr.doctor.facts import Facts, read
from device_asr.doctor.heat import check_clock, check_temperature, check_throttling
from device_asr.doctor.machine import check_kernels, check_machine
from device_asr.doctor.measure import Candidate, Run
from device_asr.doctor.program import check_model, check_runtime
from device_asr.doctor.report import Report
from device_asr.doctor.sound import check_microphone, check_permissions, check_server
from device_asr.doctor.speech import minute
from device_asr.doctor.trial import Trials, thread_counts, try_all
from device_asr.doctor.worker import attempt
from device_asr.errors import DeviceAsrError
from device_asr.events import Seconds
from device_asr.runtime.session import runtime

Show = Callable[[Check], None]
Progress = Callable[[str], AbstractContextManager[Callable[[float], None]]]


@dataclass(frozen=True)
class Wanted:
    """What the person asks for.

    threads: the only number of threads that is tried; None: 1 to the processors of this machine, 4 at most.
    microphone: record from it. slowdown: computation is counted this many times as long, to foresee a slower device.
    """

    threads: int | None = None
    microphone: bool = True
    slowdown: float = 1.0

    def clock(self) -> float:
        """Seconds, slowed down."""
        return self.slowdown * perf_counter()


def examine(config: Config, wanted: Wanted, show: Show, progress: Progress) -> Report:
    """Examines this machine; each check is shown as soon as it is made.

    Args:
        progress: opens a bar of a candidate, and gives what moves it (a share from 0 to 1).
    """
    checks: list[Check] = []

    def note(check: Check) -> None:
        checks.append(check)
        show(check)

    facts = read(folder(config.session))
    note(check_machine(facts))
    note(check_kernels(facts))
    trials, failure = None, None
    try:
        note(check_runtime(runtime()))
        bundle = load(config.model.name, verify=not config.model.fast)
        note(check_model(bundle))
        trials = _measure(config, bundle, facts, wanted, progress)
    except DeviceAsrError as error:
        failure = str(error)
    for check in _after(config, facts, trials, wanted.microphone):
        note(check)
    return Report(checks, trials, failure, changes(config, trials), wanted.slowdown)


def changes(config: Config, trials: Trials | None) -> dict[str, int | str | bool]:
    """The recommended settings that differ from those in force."""
    if trials is None or trials.recommended is None:
        return {}
    wanted = trials.recommended.candidate.settings()
    return {key: value for key, value in wanted.items() if _in_force(config, key) != value}


def _measure(config: Config, bundle: Bundle, facts: Facts, wanted: Wanted, progress: Progress) -> Trials:
    pcm = minute()

    def tried(candidate: Candidate, limit: Seconds) -> Run:
        with progress(_title(candidate)) as move:
            # the time that it may take is real, so that the whole minute is foreseen
            return attempt(config, candidate, pcm, limit * wanted.slowdown, wanted.clock, move)

    return try_all(thread_counts(facts.usable, wanted.threads), bundle.stream is not None, tried)


def _after(config: Config, facts: Facts, trials: Trials | None, microphone: bool) -> Iterator[Check]:
    """The checks that come after the measurement, when the machine is warm."""
    warm = read(folder(config.session))
    yield check_temperature(warm)
    yield check_throttling(warm)
    yield check_clock(warm)
    peaks = [run.memory for run in trials.runs if run.memory is not None] if trials else []
    yield check_memory(facts, max(peaks, default=None))
    yield check_disk(facts)
    yield check_server(facts.sound)
    yield check_permissions(facts.sound)
    if microphone:
        yield check_microphone(config.audio)


def _title(candidate: Candidate) -> str:
    threads = f"{candidate.threads} thread{'s' if candidate.threads > 1 else ''}"
    if not candidate.partials:
        return f"{threads}, finals only"
    return f"{threads}, partials every {candidate.interval_ms} ms, finals {candidate.final}"


def _in_force(config: Config, key: str) -> object:
    section, name = key.split(".")
    return getattr(getattr(config, section), name)
