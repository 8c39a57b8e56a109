"""Sessions of ExecuTorch programs.

This is the one module of the runtime that touches ExecuTorch and torch. It imports the extension `_C` itself:
`executorch.runtime` brings torchao and the exporter along, 3.4 s against 0.8 s (torch alone).
"""

from __future__ import annotations

import importlib
import io
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np

from device_asr.errors import BundleError

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
            importlib.import_module("torch")  # the extension links against libtorch
            extension = importlib.import_module("executorch.extension.pybindings._C")
        except ImportError as error:
            raise BundleError(
                f"ExecuTorch cannot be imported ({error}); run: pip install 'torch==2.13.*' 'executorch==1.5.*'"
            ) from None
        if _threads != threads:
            with _quiet_native_stderr():
                extension._unsafe_reset_threadpool(threads)
            _threads = threads
        return extension


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
        self._constants = {name: torch.from_numpy(array) for name, array in (constants or {}).items()}
        try:
            with _quiet_native_stderr():
                program = extension._load_program(str(path))
        except RuntimeError as error:
            raise BundleError(
                f"{path} is not a program that ExecuTorch 1.5 can load ({error}); build or copy the bundle again."
            ) from None
        found = {program.get_method_name(i) for i in range(program.num_methods())}
        missing = sorted(set(methods) - found)
        if missing:
            raise BundleError(
                f"{path}: wanted the method {missing[0]!r}, found {sorted(found)}; build the bundle again."
            )
        self._program = program  # keeps the mapped file alive
        try:
            with _quiet_native_stderr():
                self._methods = {name: program.load_method(name) for name in methods}
        except RuntimeError as error:
            raise BundleError(
                f"{path}: the method cannot be loaded ({error}); build or copy the bundle again."
            ) from None

    def run(self, method: str, *arrays: np.ndarray) -> list[np.ndarray]:
        """Runs `method`; see `device_asr.runtime.session.Session.run`."""
        given = iter(arrays)
        inputs = [
            self._constants[name] if name in self._constants else self._from_numpy(next(given))
            for name in self._inputs[method]
        ]
        try:
            outputs = self._methods[method](inputs)
        except RuntimeError as error:
            shapes = {n: tuple(t.shape) for n, t in zip(self._inputs[method], inputs, strict=True)}
            raise BundleError(f"{self._path}: method {method!r} refused inputs {shapes}: {error}") from None
        return [output.numpy() for output in outputs]
