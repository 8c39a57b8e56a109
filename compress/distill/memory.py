"""Memory of a training on a CPU under the GNU C library."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # parameters of mallopt(3)


def keep_memory() -> None:
    """Lets the allocator keep what was freed, instead of giving each large tensor back to the system.

    Without it a fifth to a third of a step is spent on pages that the system clears again (Moonshine base, chunks of
    13 positions, two threads: 11.7 and 16.2 s of audio a second). Elsewhere than under glibc it does nothing.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_TOP_PAD, 256 * 2**20)
