"""Measures a recognizer on a clip as live dictation would use it, without waiting for real time.

The clock is simulated: a chunk of 32 ms can be computed when it was spoken and the one before it is done, and
takes as long as it takes here. So the lag, the partials that are skipped, and the latency of each event are those
of live dictation, and a fast machine is done in a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from device_asr.audio.format import SAMPLE_RATE, STEP
from device_asr.config import Config
from device_asr.dictation.pace import BEHIND, Pace
from device_asr.events import Seconds
from device_asr.metrics.latency import LatencyMeter
from device_asr.recognition.protocol import Recognizer

MOST_RTF = 0.8  # a fifth of the time is left for the interface, the capture and everything else that runs
HOPELESS: Seconds = 10.0  # of lag: the answer is clear


@dataclass(frozen=True)
class Candidate:
    """Settings that are tried; their names are those of the config file.

    partials: partial.enabled.
    """

    threads: int
    partials: bool = True
    mode: str = "stream"
    interval_ms: int = 480
    final: str = "full"

    def settings(self) -> dict[str, int | str | bool]:
        """Key of the config file -> value."""
        return {
            "model.threads": self.threads,
            "partial.enabled": self.partials,
            "partial.mode": self.mode,
            "partial.interval_ms": self.interval_ms,
            "final.mode": self.final,
        }

    def applied(self, config: Config) -> Config:
        """`config` with these settings."""
        return replace(
            config,
            model=replace(config.model, threads=self.threads),
            partial=replace(config.partial, enabled=self.partials, mode=self.mode, interval_ms=self.interval_ms),
            final=replace(config.final, mode=self.final),
        )


@dataclass(frozen=True)
class Run:
    """What one candidate took.

    audio: seconds of the clip that were computed; whole: that was all of it. costs: seconds of each 32 ms.
    lag: the most that the computation was behind the speech. gave_up: partials came less often or not at all, as in
    live dictation on a machine that is too slow.
    load: seconds to load the model. memory: peak bytes of the recognizer's process; None: not known.
    """

    candidate: Candidate
    costs: Sequence[Seconds]
    meter: LatencyMeter
    audio: Seconds
    whole: bool
    lag: Seconds
    gave_up: bool
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
        if rtf is None or rtf > MOST_RTF or self.gave_up or not self.meter.finals:
            return False
        # without partials the lag behind a final is made up for in the pauses
        return self.lag <= BEHIND or not self.candidate.partials


def run(
    recognizer: Recognizer,
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
    gave_up = False
    chunks = [pcm[at : at + STEP] for at in range(0, len(pcm), STEP)]
    for number, chunk in enumerate(chunks, 1):
        spoken = number * STEP / SAMPLE_RATE
        start = max(spoken, free)
        if pace.update(start, start - spoken):
            recognizer.partial_interval = pace.partial_interval()
        gave_up |= pace.step > 0
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
    return Run(candidate, costs, meter, audio, len(costs) == len(chunks), lag, gave_up)


def common(runs: Sequence[Run]) -> Seconds:
    """Seconds of audio that all of `runs` computed."""
    return min(measured.audio for measured in runs)
