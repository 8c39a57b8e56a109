"""The live line on a terminal that says how far a verb is."""

from __future__ import annotations

import sys

from device_asr.printable import printable


def progress(stage: str, fraction: float | None, note: str) -> None:
    """Shows one live line where standard error is a terminal, and nothing elsewhere.

    Args:
        fraction: done so far; None: not known; 1.0 ends the line.
    """
    if not sys.stderr.isatty():
        return
    done = "..." if fraction is None else f"{100 * fraction:3.0f} %"
    end = "\n" if fraction == 1.0 else ""
    print(f"\r\x1b[K{stage:<12} {done} {printable(note)}", end=end, file=sys.stderr, flush=True)
