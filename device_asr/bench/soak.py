"""The interface for a long time in a pseudo-terminal: its memory, its cost, and its drawing.

The interface runs as a person runs it, with its recognizer in a process of its own. This process only
watches both and reads the drawing. It ends them with SIGTERM, like a closed terminal.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import pickle
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from device_asr.bench.memory import NOTHING, Use, fit, long_run, use
from device_asr.config import Config
from device_asr.errors import DeviceAsrError
from device_asr.events import Seconds

COLUMNS, ROWS = 80, 24
DRAW_GAP: Seconds = 0.01  # a pseudo-terminal hands over a draw of more than 4 kB in pieces
EVERY: Seconds = 1.0
WARM_UP: Seconds = 60.0  # loading, first buffers; a fifth of the time where that is shorter
ENDING: Seconds = 60.0
PLAYER_PAUSE: Seconds = 2.0  # between two rounds, so that the last utterance ends by itself


@dataclass(frozen=True, slots=True)
class Sample:
    """At `time` (monotonic): what all its processes have, their processor seconds, draws so far."""

    time: Seconds
    use: Use
    cpu: Seconds
    draws: int


def figures(samples: Sequence[Sample]) -> dict[str, Any]:
    """Figures of the samples: bytes, bytes an hour, per cent of one core, draws a second, and those of `long_run`.

    Raises:
        DeviceAsrError: there are too few.
    """
    if len(samples) < 3:
        raise DeviceAsrError(f"The interface was sampled {len(samples)} times only; give it more --minutes.")
    times, uses = [sample.time for sample in samples], [sample.use for sample in samples]
    whole = fit(times, [one.memory for one in uses])
    last = samples[-max(3, 2 * len(samples) // 3) :]  # caches fill first: 28 MB an hour for 10 minutes, then 12
    settled = fit([sample.time for sample in last], [sample.use.memory for sample in last])
    seconds = samples[-1].time - samples[0].time
    draws = [(b.draws - a.draws) / (b.time - a.time) for a, b in itertools.pairwise(samples)]
    return {
        "seconds": seconds,
        "memory": {
            "first_bytes": uses[0].memory,
            "last_bytes": uses[-1].memory,
            "max_bytes": max(one.memory for one in uses),
            "slope_bytes_per_hour": 3600 * whole.slope,
            "slope_error_bytes_per_hour": 3600 * whole.error,
            "settled_slope_bytes_per_hour": 3600 * settled.slope,
        },
        **long_run(times, uses),
        "cpu": (samples[-1].cpu - samples[0].cpu) / seconds,
        "draws_per_second": {"mean": (samples[-1].draws - samples[0].draws) / seconds, "p50": float(np.median(draws))},
    }


class Watched:
    """The interface in a pseudo-terminal, and a count of its draws."""

    def __init__(self, config: Config, audio: Path | None, seconds: Seconds, folder: Path) -> None:
        self.draws = 0
        self.answer = folder / "answer.json"
        plan = folder / "plan"
        plan.write_bytes(pickle.dumps((config, audio, seconds, self.answer)))
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        command = [sys.executable, "-m", "device_asr.bench.soaked", str(plan)]
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color"},
        )
        os.close(slave)
        self._processes = {self.process.pid: psutil.Process(self.process.pid)}
        self._reader = threading.Thread(target=self._read, name="terminal", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        last = float("-inf")
        while True:
            try:
                select.select([self._master], [], [])
                if not os.read(self._master, 65536):
                    return
            except OSError:  # it has ended
                return
            now = time.monotonic()
            self.draws += now - last > DRAW_GAP
            last = now

    def sample(self) -> Sample:
        """Samples all its processes.

        Raises:
            DeviceAsrError: it has ended.
        """
        taken, cpu = NOTHING, 0.0
        if self.process.poll() is not None:
            raise self.ended()
        try:
            for child in self._processes[self.process.pid].children(recursive=True):
                self._processes.setdefault(child.pid, child)
            for process in self._processes.values():
                times = process.cpu_times()
                taken += use(process)
                cpu += times.user + times.system
        except psutil.NoSuchProcess:
            raise self.ended() from None
        return Sample(time.monotonic(), taken, cpu, self.draws)

    def ended(self) -> DeviceAsrError:
        """The reason why it ended before its time."""
        code = self.process.wait(ENDING)
        failure = json.loads(self.answer.read_text())["failure"] if self.answer.exists() else None
        return DeviceAsrError(failure or f"The interface ended before its time, with exit code {code}.")

    def finish(self) -> dict[str, Any]:
        """Ends it like a closed terminal; returns its own figures.

        Raises:
            DeviceAsrError: it failed, or did not end.
        """
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(ENDING)
        except subprocess.TimeoutExpired:
            raise DeviceAsrError(f"The interface did not end within {ENDING:.0f} s of SIGTERM.") from None
        if not self.answer.exists():
            raise self.ended()
        answer: dict[str, Any] = json.loads(self.answer.read_text())
        if answer["failure"]:
            raise DeviceAsrError(answer["failure"])
        return answer

    def close(self) -> None:
        """Ends it, by force if it must be; its recognizer ends with it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(1)
        os.close(self._master)


class Player:
    """Plays `audio` with a command, again and again, until it is closed."""

    def __init__(self, command: Sequence[str], audio: Path) -> None:
        self._command = [*command, str(audio)]
        self._ending = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self.failure: str | None = None
        self._thread = threading.Thread(target=self._run, name="player", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        nowhere = subprocess.DEVNULL
        while not self._ending.wait(PLAYER_PAUSE):
            try:
                self._process = subprocess.Popen(self._command, stdin=nowhere, stdout=nowhere, stderr=nowhere)
            except OSError as error:
                self.failure = f"--player: {self._command[0]} cannot be run ({error.strerror})."
                return
            code = self._process.wait()
            if code and not self._ending.is_set():
                self.failure = f"--player: {self._command[0]} ended with exit code {code}; try the command by hand."
                return

    def close(self) -> None:
        """Stops the command, even in the middle of the audio."""
        self._ending.set()
        if self._process is not None:
            self._process.terminate()
        self._thread.join()


def soak(
    config: Config,
    audio: Path,
    minutes: float,
    player: Sequence[str],
    folder: Path,
    progress: Callable[[Seconds], None],
) -> dict[str, Any]:
    """Runs the interface over `audio` and measures it.

    Args:
        player: a command that plays `audio` into the microphone; empty: the interface plays the file.
        folder: takes the session and other temporary files.
        progress: gets the seconds since the beginning.

    Raises:
        DeviceAsrError: the interface or the player failed.
    """
    seconds = 60 * minutes
    watched = Watched(config, None if player else audio, seconds, folder)
    playing: Player | None = None
    try:
        playing = Player(player, audio) if player else None
        began, samples = time.monotonic(), []
        warm = min(WARM_UP, seconds / 5)
        while (passed := time.monotonic() - began) < seconds:
            time.sleep(EVERY)
            sample = watched.sample()
            if passed >= warm:
                samples.append(sample)
            if playing is not None and playing.failure:
                raise DeviceAsrError(playing.failure)
            progress(passed)
        found = figures(samples)
        return {"minutes": minutes, "warm_up_s": warm, **found, **watched.finish()}
    finally:
        if playing is not None:
            playing.close()
        watched.close()
