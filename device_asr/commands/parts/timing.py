"""Where the time of a command goes, from the start of its process on."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path


class Timing:
    """Seconds of the stages: import, load, computation, and from the start of the process to the text."""

    def __init__(self) -> None:
        self._start = time.perf_counter() - _lived()
        self.imported = self.loaded = 0.0
        self.audio = self.compute = 0.0

    def since_start(self) -> float:
        """Seconds since the process started."""
        return time.perf_counter() - self._start

    def report(self) -> str:
        """One line of JSON."""
        import json

        rtf = round(self.compute / self.audio, 4) if self.audio else None
        return json.dumps(
            {
                "import_s": round(self.imported, 3),
                "load_s": round(self.loaded, 3),
                "import_and_load_s": round(self.imported + self.loaded, 3),
                "audio_s": round(self.audio, 3),
                "compute_s": round(self.compute, 3),
                "rtf": rtf,
                "start_to_text_s": round(self.since_start(), 3),
            }
        )


def _lived() -> float:
    """Seconds since this process started; on Linux to 10 ms.

    psutil adds the kernel's ticks to its boot time, which is in whole seconds: found 0.94 s too long.
    """
    if sys.platform == "linux":
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    import psutil

    return time.time() - float(psutil.Process().create_time())
