"""Session: a loaded program whose methods run on NumPy arrays. All computation of a model goes through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from device_asr.runtime.choice import NATIVE, Runtime, runtime

__all__ = ["Runtime", "Session", "open_session", "runtime"]


class Session(Protocol):
    """A loaded program."""

    def run(self, method: str, *arrays: np.ndarray) -> list[np.ndarray]:
        """Runs `method` and returns its outputs, which later calls leave as they are.

        Args:
            arrays: the inputs in their order, without the constants. They are C-contiguous, have the dtype and
                shape that the manifest describes, and are read in place; they may be read-only.

        Raises:
            BundleError: the method refuses the inputs.
        """
        ...


def open_session(
    path: Path,
    methods: Mapping[str, Sequence[str]],
    constants: Mapping[str, np.ndarray] | None = None,
    threads: int = 1,
) -> Session:
    """Loads a program into the runtime that `device_asr.runtime.choice` names.

    Args:
        path: the .pte file.
        methods: for each method the names of its inputs, in order.
        constants: inputs that are always the same, by name (arrays mapped from the program file).
        threads: how many it computes with. The programs that a process has loaded at one time share this number,
            except those of one thread.

    Raises:
        BundleError: the file is not a program, or lacks a method; no runtime can be loaded.
    """
    if runtime().name == NATIVE:
        from device_asr.runtime.native import NativeSession

        return NativeSession(path, methods, constants, threads)
    from device_asr.runtime.executorch import ExecutorchSession

    return ExecutorchSession(path, methods, constants, threads)
