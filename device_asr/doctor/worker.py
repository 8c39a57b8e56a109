"""Runs a candidate with the real recognizer in a process of its own, as live dictation does.

A crash in native code is then a sentence and not the end of the examination, and the peak memory of the process is
what the recognizer needs.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

import numpy as np

from device_asr.bench.memory import peak_memory
from device_asr.config import Config
from device_asr.dictation import remote
from device_asr.doctor.measure import Candidate, Run, run
from device_asr.events import Seconds


def attempt(
    config: Config,
    candidate: Candidate,
    pcm: np.ndarray,
    limit: Seconds,
    clock: Callable[[], float] = perf_counter,
    progress: Callable[[float], None] | None = None,
) -> Run:
    """Loads the recognizer with the candidate's settings, and measures it; see `device_asr.doctor.measure.run`.

    Raises:
        BundleError: the model is missing or damaged, or no runtime can be loaded.
        DeviceAsrError: the recognizer's process ended.
    """
    before = set(multiprocessing.active_children())
    began = clock()
    recognizer = remote.load(candidate.applied(config))
    load = clock() - began
    try:
        measured = run(recognizer, candidate, pcm, limit, clock, progress)
        ours = [child.pid for child in multiprocessing.active_children() if child not in before and child.pid]
        peaks = [peak for pid in ours if (peak := peak_memory(pid)) is not None]
    finally:
        recognizer.close()
    return replace(measured, load=load, memory=max(peaks, default=None))
