"""Measures a recognizer on a clip as live dictation would use it, without waiting for real time.

The clock is simulated: a chunk of 32 ms can be computed when it was spoken and the one before it is done, and
takes as long as it takes here. So the lag, the partials that are skipped, and the latency of each event are those
of live dictation, and a fast machine is done in a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Protocol

import numpy as np

from device_asr.audio.format import SAMPLE_RATE, STEP
from device_asr.config import Config
from device_asr.dictation.pace import BEHIND, Pace
from device_asr.events import Event, Seconds
from device_asr.metrics.latency import LatencyMeter

MOST_RTF = 0.8  # a fifth of the time is left for the interface, the capture and everything else that runs
HELD_BACK = 0.25  # share of the time in which live dictation may give up partials: once in a minute, after a long final
MOST_LAG: Seconds = 2 * BEHIND  # with partials
HOPELESS: Seconds = 20.0  # of lag: the answer is clear; the ring keeps 30 s of audio


class Feedable(Protocol):
    """What is needed of a `Recognizer`."""

    partial_interval: Seconds | None

    def feed(self, pcm: np.ndarray, *, backlog: Seconds = 0.0) -> list[Event]: ...


@dataclass(frozen=True)
class Candidate:
    """Settings that are tried; `settings` has their names in the config file.

    The beam is without effect where there are partials.
    """

    threads: int
    partials: bool = True
    mode: str = "stream"
    interval_ms: int = 480
    final: str = "full"
    beam: int = 2

    def settings(self) -> dict[str, int | str | bool]:
        """Key of the config file -> value."""
        return {
            "model.threads": self.threads,
            "partial.enabled": self.partials,
            "partial.mode": self.mode,
            "partial.interval_ms": self.interval_ms,
            "final.mode": self.final,
            "final.beam": self.beam,
        }

    def applied(self, config: Config) -> Config:
        """`config` with these settings."""
        return replace(
            config,
            model=replace(config.model, threads=self.threads),
            partial=replace(config.partial, enabled=self.partials, mode=self.mode, interval_ms=self.interval_ms),
            final=replace(config.final, mode=self.final, beam=self.beam),
        )


@dataclass(frozen=True)
class Run:
    """What one candidate took.

    audio: seconds of the clip that were computed; whole: that was all of it. costs: seconds of each 32 ms.
    lag: the most that the computation was behind the speech. held_back: share of the time in which partials came less
    often or not at all, as in live dictation on a machine that is too slow.
    load: seconds to load the model. memory: peak bytes of the recognizer's process; None: not known.
    """

    candidate: Candidate
    costs: Sequence[Seconds]
    meter: LatencyMeter
    audio: Seconds
    whole: bool
    lag: Seconds
    held_back: float
    load: Seconds = 0.0
    memory: int | None = None

    def rtf(self, seconds: Seconds | None = None) -> float | None:
        """Computation / audio over the first `seconds`; None: all that was computed."""
        steps = len(self.costs) if seconds is None else int(seconds * SAMPLE_RATE) // STEP
        costs = self.costs[:steps]
        return sum(costs) / (len(costs) * STEP / SAMPLE_RATE) if costs else None

    @property
    def keeps_up(self) -> bool:
        """Whether live dictation holds these settings; a final must have been among what was computed."""
        rtf = self.rtf()
        if rtf is None or rtf > MOST_RTF or not self.meter.finals:
            return False
        if not self.candidate.partials:  # the lag behind a final is made up for in the pauses
            return self.lag <= HOPELESS
        return self.lag <= MOST_LAG and self.held_back <= HELD_BACK


def run(
    recognizer: Feedable,
    candidate: Candidate,
    pcm: np.ndarray,
    limit: Seconds,
    clock: Callable[[], float] = perf_counter,
    progress: Callable[[float], None] | None = None,
) -> Run:
    """Computes `pcm` until its end, until `limit` seconds are over, or until the lag is hopeless.

    Args:
        progress: takes the share of `pcm` that is done, after each chunk.
    """
    pace = Pace(recognizer.partial_interval)
    meter = LatencyMeter(wall=lambda audio: audio)  # the moment when a sample was spoken is its place in the audio
    costs: list[Seconds] = []
    free = lag = spent = 0.0  # free: when the recognizer is done with all chunks so far
    held_back = 0  # chunks
    chunks = [pcm[at : at + STEP] for at in range(0, len(pcm), STEP)]
    for number, chunk in enumerate(chunks, 1):
        spoken = number * STEP / SAMPLE_RATE
        start = max(spoken, free)
        if pace.update(start, start - spoken):
            recognizer.partial_interval = pace.partial_interval()
        held_back += pace.step > 0
        began = clock()
        events = recognizer.feed(chunk, backlog=start - spoken)
        costs.append(clock() - began)
        free = start + costs[-1]
        lag, spent = max(lag, free - spoken), spent + costs[-1]
        for event in events:
            meter.add(event, free)
        if progress is not None:
            progress(number / len(chunks))
        if spent > limit or lag > HOPELESS:
            break
    audio = len(costs) * STEP / SAMPLE_RATE
    return Run(candidate, costs, meter, audio, len(costs) == len(chunks), lag, held_back / len(costs))


def common(runs: Sequence[Run]) -> Seconds:
    """Seconds of audio that all of `runs` computed."""
    return min(measured.audio for measured in runs)
