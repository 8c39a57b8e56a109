"""What a process takes: its peak of memory, and whether memory, descriptors or threads grow."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil


def peak_memory(pid: int | None = None) -> int | None:
    """Peak of the resident bytes, of this process or (on Linux alone) of `pid`; None: unknown.

    On Linux VmHWM and not getrusage: the latter's high-water mark is inherited from the parent through
    fork and exec, so that a small worker of a large process looks large.
    """
    status = Path(f"/proc/{pid or 'self'}/status")
    try:
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    if pid is not None:
        return None
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


LONG_RUN_HOURS = 8  # a working day of dictation


@dataclass(frozen=True, slots=True)
class Use:
    """What a process, or several, have at a time: resident bytes, open file descriptors, threads."""

    memory: int
    descriptors: int
    threads: int

    def __add__(self, other: Use) -> Use:
        return Use(self.memory + other.memory, self.descriptors + other.descriptors, self.threads + other.threads)


NOTHING = Use(0, 0, 0)


def use(process: psutil.Process) -> Use:
    """What a process has now; on Windows handles stand for descriptors.

    Raises:
        psutil.NoSuchProcess: it has ended.
    """
    with process.oneshot():
        descriptors = process.num_handles() if sys.platform == "win32" else process.num_fds()
        return Use(process.memory_info().rss, descriptors, process.num_threads())


def long_run(times: Sequence[float], uses: Sequence[Use]) -> dict[str, Any]:
    """Descriptors and threads, first, last and at most, and all three after `LONG_RUN_HOURS`, along straight lines.

    A line that falls is taken as level: nothing is gained by running longer.
    """
    hours = 3600 * LONG_RUN_HOURS
    found: dict[str, Any] = {}
    after: dict[str, float] = {"hours": LONG_RUN_HOURS}
    for name, unit in (("memory", "memory_bytes"), ("descriptors", "descriptors"), ("threads", "threads")):
        values = [getattr(one, name) for one in uses]
        slope = fit(times, values).slope
        after[unit] = values[-1] + max(0.0, slope) * (hours - (times[-1] - times[0]))
        if name != "memory":
            found[name] = {"first": values[0], "last": values[-1], "max": max(values), "per_hour": 3600 * slope}
    return {**found, "after": after}


@dataclass(frozen=True, slots=True)
class Line:
    """A least-squares line: `slope` per second with its standard error."""

    slope: float
    error: float


def fit(times: Sequence[float], values: Sequence[float]) -> Line:
    """The line through `values` over `times`, three of each at least."""
    x, y = np.asarray(times, float), np.asarray(values, float)
    x = x - x.mean()
    spread = float(np.sum(x * x))
    slope = float(np.sum(x * (y - y.mean()))) / spread
    rest = y - y.mean() - slope * x
    return Line(slope, float(np.sqrt(np.sum(rest * rest) / (len(x) - 2) / spread)))
