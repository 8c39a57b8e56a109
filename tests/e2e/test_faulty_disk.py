"""Disks that are full, break or become read-only: nothing is lost without a word, and nothing half-written stays."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from device_asr.dictation.history import find, list_sessions
from tests.support import faulty
from tests.support.paths import ROOT
from tests.support.run import made_once

pytestmark = pytest.mark.e2e
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
IN_A_NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]


def may_mount() -> bool:
    """Whether a small disk can be made here, as root of a namespace."""
    if not shutil.which("unshare"):
        return False
    return (
        subprocess.run([*IN_A_NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode == 0
    )


with_compiler = pytest.mark.skipif(sys.platform != "linux" or not COMPILER, reason="needs Linux and a C compiler")
with_disk = pytest.mark.skipif(not may_mount(), reason="no disk may be mounted here")


@with_compiler
def test_every_call_that_changes_a_file_may_fail(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    def compile_it(out: Path) -> None:
        source = ROOT / "tests" / "support" / "faulty_disk.c"
        subprocess.run([COMPILER, "-shared", "-fPIC", "-o", out, source, "-ldl"], check=True)

    library = made_once(tmp_path_factory, "faulty_disk.so", compile_it)
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.faulty", str(tmp_path)],
        env={**os.environ, "LD_PRELOAD": str(library)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) == set(faulty.SCENARIOS)
    assert found["session"]["calls"] >= 14 and all(scenario["calls"] >= 2 for scenario in found.values())
    problems = [f"{name}: {problem}" for name, scenario in found.items() for problem in scenario["problems"]]
    assert not problems, "\n".join(problems)


FULL_FOR_A_MOMENT = """
import sys
from pathlib import Path
from device_asr.dictation.session_writer import SessionWriter
from tests.support.finals import final
disk = Path(sys.argv[1])
for tries in range(30):
    writer = SessionWriter(disk / str(tries), interval=0.05)
    writer.final(final("Before.", 0, 1))
    with open(disk / "hog", "wb", buffering=0) as hog:
        try:
            while True:
                hog.write(b"x" * 512)
        except OSError:
            pass
    texts = []
    while len(texts) < 3:
        texts.append(f"Number {len(texts)} of try {tries}." + "x" * tries)
        for n in range(30 if len(texts) == 1 else 1):
            writer.final(final(texts[-1], len(texts), len(texts) + 1))
    assert writer.unkept, "it was full"
    (disk / "hog").unlink()
    writer.final(final("After.", 90, 91))
    assert writer.close()
"""

RECORDING = """
import os, sys
import numpy as np
from pathlib import Path
from device_asr.dictation.session_writer import SessionWriter
from device_asr.errors import OutputError
from tests.support.finals import final
disk = Path(sys.argv[1])
writer = SessionWriter(disk, record=True)
try:
    while True:
        writer.audio(np.full(16_000, 0.1, np.float32))
except OutputError as error:
    print(error)
about = os.statvfs(disk)
print(about.f_bavail * about.f_frsize)
for n in range(100):
    writer.final(final("This is kept.", n, n + 1, n))
assert writer.close() and not writer.unkept
"""


def on_a_disk(program: str, size: str, out: Path) -> str:
    """What a program prints that gets a folder on a disk of this size; the files are copied to `out` afterwards."""
    script = 'mount -t tmpfs -o "size=$SIZE" tmpfs /mnt && "$PYTHON" -c "$PROGRAM" /mnt && cp -r /mnt/. "$OUT"'
    env = {**os.environ, "SIZE": size, "PYTHON": sys.executable, "PROGRAM": program, "OUT": str(out)}
    done = subprocess.run(
        [*IN_A_NAMESPACE, "sh", "-c", script], env=env, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@with_disk
def test_a_disk_that_is_full_for_a_moment_costs_no_final(tmp_path: Path) -> None:
    on_a_disk(FULL_FOR_A_MOMENT, "1m", tmp_path)
    for tries in range(30):
        session = find(tmp_path / str(tries), "last")
        texts = [line.text for line in session.lines]
        assert (len(texts), session.damaged) == (34, 0)
        assert (texts[0], texts[-1]) == ("Before.", "After.") and texts[-2].startswith(f"Number 2 of try {tries}.")


@with_disk
def test_a_recording_leaves_16_mb_of_a_real_disk_to_the_text(tmp_path: Path) -> None:
    sentence, free = on_a_disk(RECORDING, "20m", tmp_path).splitlines()
    assert sentence == "Recording has stopped: the last 16 MB of the disk are left for the text."
    assert int(free) >= 16 * 2**20
    (session,) = list_sessions(tmp_path)
    assert len(session.lines) == 100 and session.recording is not None


DICTATING = """
import sys, time
from pathlib import Path
from device_asr.dictation.session_writer import SessionWriter
from device_asr.events import Partial
writer = SessionWriter(Path(sys.argv[1]))
for n in range(10_000):
    writer.partial(Partial(0, " ".join(["word"] * (n + 1)), "", 0.0, 1.0, 1.0))
    print(n + 1, time.monotonic(), flush=True)
    time.sleep(float(sys.argv[2]) if n % 10 else 3 * float(sys.argv[2]))
"""
LATE = 0.5  # seconds; the thread that writes may wait for a core


@pytest.mark.serial
def test_kill_9_at_any_moment_costs_at_most_the_last_second_that_was_shown(tmp_path: Path) -> None:
    kills = random.Random(19)
    running = []
    for number in range(12):
        command = [sys.executable, "-c", DICTATING, str(tmp_path / str(number)), str(kills.choice([0.03, 0.1, 0.6]))]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        running.append((process, kills.uniform(0.1, 4.0)))
    began = [process.stdout.readline() and time.monotonic() for process, _ in running]
    for (process, _), at in sorted(zip(running, began, strict=True), key=lambda pair: pair[1] + pair[0][1]):
        seconds = dict(running)[process]
        time.sleep(max(0.0, at + seconds - time.monotonic()))
        process.send_signal(signal.SIGKILL)
    for number, (process, _) in enumerate(running):
        rest = process.stdout.read().splitlines()
        shown = [(int(count), float(at)) for count, at in (line.split() for line in rest if line.count(" "))]
        (session,) = list_sessions(tmp_path / str(number))
        assert session.unfinished and not session.damaged
        kept, last = session.words, max(at for _, at in shown) if shown else 0.0
        due = [count for count, at in shown if at < last - 1.0 - LATE]
        assert kept >= max(due, default=1), f"{kept} words are kept of {shown[-1]}"
