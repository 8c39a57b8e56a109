"""Signals that end the interface as its own key does: SIGHUP of a closed terminal, and SIGTERM."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress


def on_termination(leave: Callable[[], None]) -> None:
    """Calls `leave` in the running event loop when such a signal comes; an ignored signal (nohup) stays ignored."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # Windows has no such handlers, and a thread other than the main one may not set them
        with suppress(NotImplementedError, RuntimeError, ValueError):
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, leave)
