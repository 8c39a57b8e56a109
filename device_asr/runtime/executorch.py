"""Sessions of ExecuTorch programs.

This is the one module of the runtime that touches ExecuTorch and torch. It imports the extension `_C` itself:
`executorch.runtime` brings torchao and the exporter along, 3.4 s against 0.8 s (torch alone).
"""

from __future__ import annotations

import importlib
import io
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np

from device_asr.errors import BundleError
from device_asr.runtime.choice import runtime
from device_asr.runtime.sentences import check_methods, not_a_program, not_loaded, refused

_lock = threading.Lock()
_threads: int | None = None


@contextmanager
def _quiet_native_stderr() -> Iterator[None]:
    """Hides the log of ExecuTorch's C++ code on file descriptor 2 (CPU probing on start, one line an error).

    The binding sends some lines to Python's `sys.stderr`, which may be another descriptor.
    """
    try:
        saved = os.dup(2)
    except OSError:  # no standard error at all
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def _extension(threads: int) -> Any:
    """Imports ExecuTorch's extension and sets its thread pool to `threads` for the whole process."""
    global _threads
    with _lock:
        try:
            first = "torch" not in sys.modules
            torch = importlib.import_module("torch")  # the extension links against libtorch
            if first:  # it computes nothing here, and its OpenMP threads would wait, spinning: 6.0 s of CPU, not 3.5
                torch.set_num_threads(1)
            extension = importlib.import_module("executorch.extension.pybindings._C")
        except ImportError as error:
            raise BundleError(
                f"No runtime can be loaded: the second one, ExecuTorch's own, is chosen {runtime().reason}, and "
                f"cannot be imported ({error}). Run: pip install 'device-asr[executorch]'"
            ) from None
        if _threads != threads:
            with _quiet_native_stderr():
                extension._unsafe_reset_threadpool(threads)
            _threads = threads
        return extension


class _View:
    """Lends an array's memory to NumPy as if it could be written."""

    def __init__(self, array: np.ndarray) -> None:
        address, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}
        self._array = array  # keeps the memory


def _writable(array: np.ndarray) -> np.ndarray:
    """The same memory, which torch accepts without a warning although it is read-only. Programs only read inputs."""
    return array if array.flags["W"] else np.asarray(_View(array))


class ExecutorchSession:
    """A loaded ExecuTorch program; see `device_asr.runtime.session.open_session`."""

    def __init__(
        self,
        path: Path,
        methods: Mapping[str, Sequence[str]],
        constants: Mapping[str, np.ndarray] | None = None,
        threads: int = 1,
    ) -> None:
        extension = _extension(threads)
        import torch

        self._from_numpy = torch.from_numpy
        self._path = path
        self._inputs = {name: tuple(inputs) for name, inputs in methods.items()}
        self._constants = dict(constants or {})
        try:
            with _quiet_native_stderr():
                program = extension._load_program(str(path))
        except RuntimeError as error:
            raise not_a_program(path, "1.5", error) from None
        check_methods(path, methods, (program.get_method_name(i) for i in range(program.num_methods())))
        self._program = program  # keeps the mapped file alive
        self._methods = {}
        for name in methods:
            try:
                with _quiet_native_stderr():
                    self._methods[name] = program.load_method(name)
            except RuntimeError as error:
                raise not_loaded(path, name, error) from None

    def run(self, method: str, *arrays: np.ndarray) -> list[np.ndarray]:
        """Runs `method`; see `device_asr.runtime.session.Session.run`."""
        given = iter(arrays)
        names = self._inputs[method]
        inputs = [self._constants[name] if name in self._constants else next(given) for name in names]
        try:
            outputs = self._methods[method]([self._from_numpy(_writable(array)) for array in inputs])
        except (RuntimeError, ValueError) as error:  # ValueError: torch's, of an array with negative strides
            raise refused(self._path, method, names, inputs, error) from None
        return [output.numpy() for output in outputs]
