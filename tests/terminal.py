"""A pseudo-terminal with a screen: what a person would see of a program, and keys to press."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import pyte


class Terminal:
    """Runs a program in a pseudo-terminal of `columns` x `rows`; use as a context manager."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], columns: int, rows: int) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self.written = 0  # bytes the program drew
        self.draws = 0  # times that it drew
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                        env={**env, "TERM": "xterm-256color", "COLUMNS": str(columns),
                                             "LINES": str(rows)})
        os.close(slave)
        self._reader = threading.Thread(target=self._read, name="terminal", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the program has ended
                return
            if not data:
                return
            with self._lock:
                self.written += len(data)
                self.draws += 1
                self._stream.feed(data)

    @property
    def lines(self) -> list[str]:
        """The screen, line by line."""
        with self._lock:
            return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """The screen."""
        return "\n".join(self.lines)

    def press(self, keys: str) -> None:
        """Types."""
        os.write(self._master, keys.encode())

    def until(self, condition: Callable[[str], object], seconds: float, what: str) -> float:
        """Waits until the screen fulfils `condition`; the seconds it took.

        Raises:
            AssertionError: it did not in time; with the screen.
        """
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if condition(self.text):
                return time.monotonic() - began
            time.sleep(0.02)
        raise AssertionError(f"{what}: not within {seconds} s; the screen was:\n{self.text}")

    def close(self) -> None:
        """Ends the program, at the latest by force."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(2)
        os.close(self._master)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
