"""Methods of the programs that `tests.support.tiny_programs` exports; here without what an export imports."""

from __future__ import annotations

import numpy as np

WIDTH = 8  # columns of every x
METHODS = {"affine": ("x",), "scaled": ("x", "scale", "times"), "look_up": ("ids", "table")}  # as open_session wants
SLOW = {"slow": ("x",)}  # of a program of its own
EQUAL = {"equal": ("x",)}  # of a program of its own


def calls(rows: int = 3) -> dict[str, tuple[np.ndarray, ...]]:
    """Inputs of each of METHODS; only `affine` takes another number of rows than 3."""
    x = np.linspace(-1, 1, rows * WIDTH, dtype=np.float32).reshape(rows, WIDTH)
    return {
        "affine": (x,),
        "scaled": (x, np.array(2, np.float32), np.array(3)),
        "look_up": (np.array([1, 0]), np.linspace(0, 1, 5 * WIDTH, dtype=np.float32).reshape(5, WIDTH)),
    }
