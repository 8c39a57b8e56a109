"""What the verbs of `device-asr-compress` share: where recipes are, and how far work is told on a terminal."""

from __future__ import annotations

import sys


def progress(stage: str, fraction: float | None, note: str) -> None:
    """One live line on a terminal; in a pipe nothing but nothing."""
    if not sys.stderr.isatty():
        return
    done = "..." if fraction is None else f"{100 * fraction:3.0f} %"
    end = "\n" if fraction == 1.0 else ""
    print(f"\r\x1b[K{stage:<12} {done} {note}", end=end, file=sys.stderr, flush=True)
