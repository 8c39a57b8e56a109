"""Programs as the manifest describes them: opening one, and calling its methods with arrays by role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from device_asr.bundle.roles import CONSTANT, numbered
from device_asr.errors import BundleError
from device_asr.printable import short
from device_asr.runtime.session import Session, open_session


class Method:
    """A method of a loaded program; it binds the inputs and outputs to the roles that the manifest gives them.

    Args:
        session: the program.
        name: of the method.
        description: what the manifest says of it.
    """

    def __init__(self, session: Session, name: str, description: Mapping[str, Any]) -> None:
        self._session, self._name = session, name
        given = [item for item in description["inputs"] if item["role"] != CONSTANT]
        self._given = tuple(item["role"] for item in given)
        self._results = tuple(item["role"] for item in description["outputs"])
        self.inputs: Mapping[str, Mapping[str, Any]] = {item["role"]: item for item in given}
        self.outputs: Mapping[str, Mapping[str, Any]] = {item["role"]: item for item in description["outputs"]}
        self._shapes = [item["shape"] for item in description["outputs"]]
        self._compared = False

    def __call__(self, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs the method; arrays are given and returned by role.

        Raises:
            BundleError: see `Session.run`; or the outputs are not what the manifest describes.
        """
        outputs = self._session.run(self._name, *(given[role] for role in self._given))
        if not self._compared:  # the program gives the same at every call
            self._compare([output.shape for output in outputs])
        return dict(zip(self._results, outputs, strict=True))

    def _compare(self, found: Sequence[tuple[int, ...]]) -> None:
        """Compares the first outputs with the manifest, which may be damaged or belong to another program."""
        for role, wanted, shape in zip(self._results, self._shapes, found, strict=False):
            fits = len(wanted) == len(shape)
            if not fits or any(isinstance(a, int) and a != b for a, b in zip(wanted, shape, strict=True)):
                raise BundleError(
                    f"The method {self._name!r}: wanted the shape {short(wanted)} of {role}, as the manifest says, "
                    f"found {short(list(shape))}; build or copy the bundle again."
                )
        if len(found) != len(self._shapes):
            raise BundleError(
                f"The method {self._name!r}: wanted {len(self._shapes)} outputs, as the manifest says, found "
                f"{len(found)}; build or copy the bundle again."
            )
        self._compared = True

    def state(self) -> dict[str, np.ndarray]:
        """The state before any audio, by role.

        `start` in the manifest is a tensor's one value, or one value for each row of its last axis but one.
        """
        return {role: _filled(self.inputs[role]) for role in numbered("state", self.inputs)}


def _filled(tensor: Mapping[str, Any]) -> np.ndarray:
    array = np.zeros(tensor["shape"], tensor["dtype"])
    value = np.asarray(tensor["start"], tensor["dtype"])
    array[...] = value if value.ndim == 0 else value[:, None]
    return array


def open_program(
    path: Path, methods: Mapping[str, Any], constants: Mapping[str, Any] | None = None, threads: int = 1
) -> Session:
    """Loads a program; its constants are mapped from its file, read-only and never copied.

    Args:
        methods, constants: as in the manifest.

    Raises:
        BundleError: see `open_session`.
    """
    mapped = {
        name: np.memmap(path, dtype=c["dtype"], mode="r", offset=c["offset"], shape=tuple(c["shape"]))
        for name, c in (constants or {}).items()
    }
    names = {name: [item["name"] for item in method["inputs"]] for name, method in methods.items()}
    return open_session(path, names, mapped, threads)
