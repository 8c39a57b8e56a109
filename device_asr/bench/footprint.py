"""What the program costs before it says a word: start, memory, CPU, and how long it holds the interpreter.

    python -m device_asr.bench.footprint assets/letter.flac [--runs 5] [--before CHECKOUT]

The native runtime, ExecuTorch's binding (DEVICE_ASR_RUNTIME=executorch) and another checkout of the repository, which
this Python runs too, are measured in turns, each time in new processes with 1 thread. Linux only.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# These run in a checkout of an older version too, so they call what all versions have.
RECOGNIZE = """
import sys
from pathlib import Path
from device_asr.audio.file import FileSource
from device_asr.config import load
from device_asr.recognition.assemble import assemble
recognizer = assemble(load().config)
for _ in range(3):
    for chunk in FileSource(Path(sys.argv[1])):
        recognizer.feed(chunk.pcm)
    recognizer.finish()
line = next(line for line in open("/proc/self/status") if line.startswith("VmRSS:"))
print(int(line.split()[1]) * 1024)
"""
HEARTBEAT = """
import sys, threading, time
import numpy as np
from device_asr.bundle.bundle import load
bundle = load("en-tiny")
encode = bundle.method(bundle.session("speech", 1), "speech", "encode")
pcm = (0.1 * np.random.default_rng(0).standard_normal((1, 320 * 220))).astype(np.float32)
longest, ended = 0.0, False
def beat():
    global longest
    last = time.perf_counter()
    while not ended:
        time.sleep(0.001)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
encode({"pcm": pcm})
thread = threading.Thread(target=beat)
thread.start()
for _ in range(20):
    encode({"pcm": pcm})
ended = True
thread.join()
print(longest)
"""
ROWS = {  # key: what it is, unit, factor
    "start": ("process start to the last text (wall)", "s", 1.0),
    "cpu": ("CPU, all of the process", "s", 1.0),
    "peak": ("peak memory", "MiB", 1 / 2**20),
    "steady": ("recognizer with partials, memory after the third time", "MiB", 1 / 2**20),
    "heartbeat": ("longest wait of a 1 ms thread during 20 encodes of 4.4 s (wall)", "ms", 1e3),
}


@dataclass(frozen=True)
class Side:
    """One of the versions that are compared: a checkout, and what its environment adds."""

    name: str
    root: Path
    runtime: str | None

    def environ(self) -> dict[str, str]:
        """The environment variables of its processes; an older version does not know the one of the runtime."""
        ours = ("DEVICE_ASR_", "OMP_")  # a number of threads that is set here would flatter torch
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        runtime = {} if self.runtime is None else {"DEVICE_ASR_RUNTIME": self.runtime}
        return kept | runtime | {"PYTHONPATH": str(self.root), "DEVICE_ASR_MODEL_THREADS": "1"}


def sides(before: Path | None) -> list[Side]:
    """What is compared; ExecuTorch's binding where it is installed."""
    found = [Side("native", ROOT, "native")]
    if importlib.util.find_spec("executorch") is not None:
        found.append(Side("executorch", ROOT, "executorch"))
    return found if before is None else [*found, Side("before", before.resolve(), None)]


def once(side: Side, audio: Path) -> dict[str, float]:
    """The values of `ROWS`, in seconds and bytes."""
    command = [sys.executable, "-m", "device_asr.cli", "transcribe", str(audio)]
    began = time.perf_counter()
    process = subprocess.Popen(command, env=side.environ(), cwd=side.root, stdout=subprocess.PIPE)
    assert process.stdout is not None
    text = process.stdout.read()
    start = time.perf_counter() - began
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or not text:
        raise SystemExit(f"{side.name}: transcribe failed with exit code {process.returncode}.")
    return {
        "start": start,
        "cpu": used.ru_utime + used.ru_stime,
        "peak": used.ru_maxrss * 1024.0,  # this process, from which the mark is inherited, is smaller
        "steady": _printed(side, RECOGNIZE, str(audio)),
        "heartbeat": _printed(side, HEARTBEAT),
    }


def _printed(side: Side, code: str, *arguments: str) -> float:
    """The number that a program prints."""
    command = [sys.executable, "-c", code, *arguments]
    return float(subprocess.run(command, env=side.environ(), cwd=side.root, check=True, stdout=subprocess.PIPE).stdout)


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """The medians as a table in Markdown."""
    runs = min(map(len, found.values()))
    lines = [f"| 1 thread, median of {runs} | {' | '.join(found)} |", "|---" * (len(found) + 1) + "|"]
    for key, (what, unit, factor) in ROWS.items():
        digits = 0 if unit == "MiB" else 2
        medians = (statistics.median(run[key] for run in side) * factor for side in found.values())
        lines.append(f"| {what} | {' | '.join(f'{value:.{digits}f} {unit}' for value in medians)} |")
    return "\n".join(lines)


def main() -> None:
    """Measures all sides in turns, and prints the table or the single runs as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="an older checkout of the repository")
    parser.add_argument("--json", action="store_true", help="print every run, in seconds and bytes")
    given = parser.parse_args()
    compared = sides(given.before)
    found: dict[str, list[dict[str, float]]] = {side.name: [] for side in compared}
    for run in range(given.runs):
        for side in compared:
            found[side.name].append(once(side, given.audio.resolve()))
            if sys.stderr.isatty():
                print(f"run {run + 1} of {given.runs}, {side.name}", file=sys.stderr)
    print(json.dumps(found) if given.json else table(found))


if __name__ == "__main__":
    main()
