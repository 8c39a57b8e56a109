"""A bundle whose manifest was changed in memory, and sessions that fit what it then says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from device_asr.bundle.bundle import Bundle, load
from device_asr.runtime.session import Session

Change = Callable[[dict[str, Any]], object]


def changed(bundle: Path, *changes: Change) -> Bundle:
    """The bundle with a changed manifest."""
    opened = load(str(bundle), verify=False)
    manifest = json.loads(json.dumps(opened.manifest))
    for change in changes:
        change(manifest)
    return Bundle(opened.path, manifest)


def drop(role: str, method: str) -> Change:
    """A change that takes an output from a method's description."""

    def change(manifest: dict[str, Any]) -> None:
        described = manifest["programs"]["speech"]["methods"][method]
        described["outputs"] = [tensor for tensor in described["outputs"] if tensor["role"] != role]

    return change


def says(**entries: Any) -> Change:
    """A change of entries of `speech`."""
    return lambda manifest: manifest["speech"].update(entries)


class Fewer:
    """The real session, whose methods give the outputs that are described, in this order."""

    def __init__(self, session: Session, whole: Bundle, described: Bundle) -> None:
        self._session = session
        self._given, self._wanted = (
            {
                name: [tensor["role"] for tensor in method["outputs"]]
                for name, method in bundle.manifest["programs"]["speech"]["methods"].items()
            }
            for bundle in (whole, described)
        )

    def run(self, method: str, *arrays: np.ndarray) -> list[np.ndarray]:
        outputs = dict(zip(self._given[method], self._session.run(method, *arrays), strict=True))
        return [outputs[role] for role in self._wanted[method]]


@dataclass(frozen=True)
class Lacking(Bundle):
    """A bundle some of whose outputs are gone, programs included."""

    @classmethod
    def of(cls, bundle: Path, *changes: Change) -> Lacking:
        """The bundle without what `changes` take from its description."""
        other = changed(bundle, *changes)
        return cls(other.path, other.manifest)

    def session(self, program: str, threads: int) -> Session:
        """The real one, or one with fewer outputs."""
        real = super().session(program, threads)
        return Fewer(real, load(str(self.path), verify=False), self) if program == "speech" else real
