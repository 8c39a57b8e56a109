"""What a peer is: its name, its weights, and how its process loads it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from device_asr.errors import DeviceAsrError


class Transcriber(Protocol):
    """A loaded peer, in its process."""

    @property
    def version(self) -> str:
        """Of the library that computes."""
        ...

    def transcribe(self, pcm: np.ndarray) -> str:
        """The text of (n,) float32 at 16 kHz."""
        ...


@dataclass(frozen=True, slots=True)
class PeerKind:
    """A recognizer that can run beside ours.

    compute_type: the numbers that its weights are. folder: finds its weights, in our process; DeviceAsrError where
    something is not installed. load: makes the transcriber of that folder and a number of threads; a function of a
    module, which the peer's process imports.
    """

    name: str
    compute_type: str
    folder: Callable[[], Path]
    load: Callable[[Path, int], Transcriber]


def installed(peer: str, module: str, package: str, extra: str, note: str = "") -> Path:
    """The file of an installed module, which is not imported.

    Args:
        note: what a person must know who installs the package.

    Raises:
        DeviceAsrError: it is not installed; the message names the extra that brings it.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise DeviceAsrError(
            f"--peer {peer} wants the package {package}, which is not installed; run: pip install 'device-asr[{extra}]'"
            + (f" ({note})" if note else "")
        )
    return Path(spec.origin)
