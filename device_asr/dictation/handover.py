"""Hands each Final to another program: a command of the person's, or the tool that types."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from device_asr.errors import DeviceAsrError

TIMEOUT = 30.0  # seconds for one text; as for a tool that waits for a screen which never answers
MOST = 100  # texts that wait: 10 minutes of dictation


def typing_command() -> list[str]:
    """The command that types its standard input into the focused window.

    wtype under Wayland, xdotool under X11, else ydotool, which needs its daemon and no display.

    Raises:
        DeviceAsrError: none of them fits.
    """
    wayland, x11 = os.environ.get("WAYLAND_DISPLAY"), os.environ.get("DISPLAY")
    candidates: list[list[str]] = []
    if wayland:
        candidates.append(["wtype", "-"])
    if x11:
        candidates.append(["xdotool", "type", "--clearmodifiers", "--file", "-"])
    candidates.append(["ydotool", "type", "--file", "-"])
    for command in candidates:
        if shutil.which(command[0]):
            return command
    wanted = " or ".join(command[0] for command in candidates)
    where = "under Wayland" if wayland else "under X11" if x11 else "without WAYLAND_DISPLAY or DISPLAY"
    raise DeviceAsrError(
        f"--type needs {wanted} {where}, and none is installed; "
        f"install it (Debian: sudo apt install {candidates[0][0]}) or use --exec."
    )


class Handover:
    """Runs a command for each text, one after another, on a thread of its own: nothing waits for it but later texts.

    Args:
        command: a shell's command line, or an argument vector; it gets the text on standard input.
        end: what follows the text there.
        on_failure: gets one sentence for each text that the command did not take, on any thread.
        timeout: seconds after which a command is killed, with the processes that it has started.
        most: texts that wait for the command at most; a later one is not handed over.
    """

    def __init__(
        self,
        command: str | Sequence[str],
        end: str,
        on_failure: Callable[[str], None],
        *,
        timeout: float = TIMEOUT,
        most: int = MOST,
    ) -> None:
        self.command, self.end = command, end
        self.name = command if isinstance(command, str) else command[0]
        self._on_failure = on_failure
        self._timeout, self._most = timeout, most
        self._texts: deque[str] = deque()
        self._state = threading.Condition()
        self._closing = self._busy = False
        self._thread = threading.Thread(target=self._work, name="handover", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Texts that were not handed over yet, the one that the command works on included."""
        with self._state:
            return len(self._texts) + self._busy

    def send(self, text: str) -> None:
        """Queues `text`; returns at once."""
        with self._state:
            full = len(self._texts) >= self._most
            if not full:
                self._texts.append(text)
                self._state.notify()
        if full:
            self._on_failure(f"{self.name!r} was not given {text!r}: {self._most} utterances wait for it already.")

    def close(self) -> None:
        """Waits until every text was handed over."""
        with self._state:
            self._closing = True
            self._state.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._state:
                self._busy = False
                while not self._texts and not self._closing:
                    self._state.wait()
                if not self._texts:
                    return
                text, self._busy = self._texts.popleft(), True
            if failure := self._run(text):
                self._on_failure(failure)

    def _run(self, text: str) -> str | None:
        """Runs the command for one text; a sentence where it failed."""
        try:
            # a group of its own, so that Ctrl-C ends the listening and not the command
            process = subprocess.Popen(
                self.command,
                shell=isinstance(self.command, str),
                stdin=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            return f"{self.name!r} was not given {text!r}: {error}"
        try:
            process.communicate(text + self.end, self._timeout)
        except subprocess.TimeoutExpired:
            _kill_group(process)
            return f"{self.name!r} did not end within {self._timeout:g} s for {text!r} and was killed."
        except OSError as error:
            _kill_group(process)
            return f"{self.name!r} was not given {text!r}: {error}"
        return f"{self.name!r} ended with code {process.returncode} for {text!r}." if process.returncode else None


def _kill_group(process: subprocess.Popen[str]) -> None:
    """Kills a command and what it has started: of a shell's line the shell alone would be the least."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
    process.wait()
