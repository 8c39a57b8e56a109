"""Sessions of ExecuTorch programs in the extension module `_native`: without torch, without the interpreter's lock.

The module is built from the sources in `device_asr/runtime/cpp`. It is linked to the C++ libraries of ExecuTorch's
wheel, which lie beside it in `lib`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from device_asr.runtime.choice import native_module
from device_asr.runtime.sentences import check_methods, not_a_program, not_loaded, refused


class NativeSession:
    """A loaded ExecuTorch program; see `device_asr.runtime.session.open_session`.

    Calls from several threads wait for one another without the interpreter's lock.
    """

    def __init__(
        self,
        path: Path,
        methods: Mapping[str, Sequence[str]],
        constants: Mapping[str, np.ndarray] | None = None,
        threads: int = 1,
    ) -> None:
        native = native_module()
        self._path = path
        self._inputs = {name: tuple(inputs) for name, inputs in methods.items()}
        self._constants = dict(constants or {})
        try:
            self._program = native.Program(path, threads)
            found = self._program.methods()
        except RuntimeError as error:
            raise not_a_program(path, native.EXECUTORCH, error) from None
        check_methods(path, methods, found)
        for name in methods:
            try:
                self._program.load(name)
            except RuntimeError as error:
                raise not_loaded(path, name, error) from None

    def run(self, method: str, *arrays: np.ndarray) -> list[np.ndarray]:
        """Runs `method`; see `device_asr.runtime.session.Session.run`."""
        given = iter(arrays)
        names = self._inputs[method]
        inputs = [self._constants[name] if name in self._constants else next(given) for name in names]
        try:
            return [np.asarray(output) for output in self._program.run(method, inputs)]
        except (RuntimeError, ValueError) as error:  # ValueError: NumPy's, of an array that is not contiguous
            raise refused(self._path, method, names, inputs, error) from None
