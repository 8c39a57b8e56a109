"""The memory of a process: its peak, and whether it grows."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


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
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


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
