"""state.pt: everything that a training run which was cut needs to go on as if nothing had been."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from device_asr.errors import OutputError, UsageError

STATE = "state.pt"


@dataclass
class Position:
    """How far a run is.

    step: of the optimizer, the last one that was done. audio: seconds of audio so far. learned: clips so far.
    evaluated: epochs whose weights early stopping has seen. ended: whether it ended the run.
    """

    step: int = 0
    audio: float = 0.0
    learned: int = 0
    evaluated: int = 0
    ended: bool = False


def save(work: Path, identity: str, position: Position, tensors: Mapping[str, Any]) -> None:
    """Writes the state of a run; the file appears when it is whole.

    Args:
        identity: of the run: settings, clips and networks. tensors: weights, their averages and the optimizer's.

    Raises:
        OutputError: it cannot be written.
    """
    path = work / STATE
    temporary = path.with_suffix(".partial")
    try:
        torch.save({"identity": identity, **asdict(position), **tensors}, temporary)
    except (OSError, RuntimeError) as error:  # a full disk is a RuntimeError of torch's writer
        temporary.unlink(missing_ok=True)
        why = error.strerror if isinstance(error, OSError) else "the disk may be full"
        raise OutputError(
            f"{path} cannot be written ({why}); make room and run again: it goes on from the last saved step."
        ) from None
    os.replace(temporary, path)


def load(work: Path, identity: str, device: str) -> tuple[Position, dict[str, Any]] | None:
    """The position and the tensors of the run in `work`; None: no run has begun there.

    Raises:
        UsageError: the run in `work` is another one.
    """
    path = work / STATE
    if not path.exists():
        return None
    state = torch.load(path, weights_only=True, map_location=device)
    if state.pop("identity", None) != identity:
        raise UsageError(
            f"{path} is of a run with another recipe, corpus or model; remove it, or choose another work folder."
        )
    return Position(**{name: state.pop(name) for name in asdict(Position())}), state
