"""A pseudo-terminal with a screen: what a person would see of a program, and keys to press."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import pyte

DRAW_GAP = 0.01  # seconds; a pseudo-terminal hands over a draw of more than 4 kB in pieces


def _own_terminal() -> None:
    """Makes standard input the controlling terminal, whose end is SIGHUP."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # a test run under nohup would hand on that it is ignored
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """Runs a program in a pseudo-terminal of `columns` x `rows`; use as a context manager."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], columns: int, rows: int) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self._gone = False
        self.written = 0  # bytes the program drew
        self.draws = 0  # times that it drew, DRAW_GAP apart at least
        self.tail = b""  # the last of what it drew
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_own_terminal,
            env={**env, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": str(rows)},
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, name="terminal", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        last = float("-inf")
        while not self._gone:
            try:
                if not select.select([self._master], [], [], 0.1)[0]:
                    continue
                data = os.read(self._master, 65536)
            except OSError:  # the program has ended
                return
            if not data:
                return
            with self._lock:
                self.written += len(data)
                now = time.monotonic()
                self.draws += now - last > DRAW_GAP
                last = now
                self.tail = (self.tail + data)[-4096:]
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
        """Waits until the screen fulfills `condition`; the seconds it took.

        Raises:
            AssertionError: it did not in time; with the screen.
        """
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if condition(self.text):
                return time.monotonic() - began
            time.sleep(0.02)
        raise AssertionError(f"{what}: not within {seconds} s; the screen was:\n{self.text}")

    @property
    def restored(self) -> bool:
        """Whether the program left the terminal as a shell wants it: lines, echo, a cursor, the usual screen."""
        modes = termios.tcgetattr(self._master)[3]
        with self._lock:
            tail = self.tail
        cooked = bool(modes & termios.ICANON) and bool(modes & termios.ECHO)
        usual = tail.rfind(b"\x1b[?1049l") > tail.rfind(b"\x1b[?1049h")
        cursor = tail.rfind(b"\x1b[?25h") > tail.rfind(b"\x1b[?25l")
        return cooked and usual and cursor

    def hang_up(self) -> None:
        """Closes the window: the kernel sends SIGHUP to the program, and writing to it fails."""
        self._gone = True  # a reader that waits would keep the terminal open
        self._reader.join()
        os.close(self._master)

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
        if not self._gone:
            os.close(self._master)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
