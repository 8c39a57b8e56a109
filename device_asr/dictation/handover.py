"""Hands each Final to another program: a command of the person's, or the tool that types."""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence

from device_asr.errors import DeviceAsrError

TYPE_TIMEOUT = 30.0  # seconds; a tool that waits for a screen which never answers
_END = None


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
    """Runs a command for each text, one after another, on a thread of its own.

    Args:
        command: a shell's command line, or an argument vector; it gets the text on standard input.
        end: what follows the text there.
        on_failure: gets one sentence for each text whose command failed, on this object's thread.
        timeout: seconds after which a command is killed; None: never.
    """

    def __init__(
        self, command: str | Sequence[str], end: str, on_failure: Callable[[str], None], timeout: float | None = None
    ) -> None:
        self.command, self.end = command, end
        self._on_failure = on_failure
        self._timeout = timeout
        self._texts: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="handover", daemon=True)
        self._thread.start()

    def send(self, text: str) -> None:
        """Queues `text`; returns at once."""
        self._texts.put(text)

    def close(self) -> None:
        """Waits until every text was handed over."""
        self._texts.put(_END)
        self._thread.join()

    def _run(self) -> None:
        while (text := self._texts.get()) is not _END:
            name = self.command if isinstance(self.command, str) else self.command[0]
            try:
                # a group of its own, so that Ctrl-C ends the listening and not the command
                result = subprocess.run(
                    self.command,
                    shell=isinstance(self.command, str),
                    text=True,
                    input=text + self.end,
                    timeout=self._timeout,
                    start_new_session=True,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                self._on_failure(f"{name!r} was not given {text!r}: {error}")
                continue
            if result.returncode:
                self._on_failure(f"{name!r} ended with code {result.returncode} for {text!r}.")
