"""The voice activity detector as a program."""

from __future__ import annotations

from typing import Any

import torch

from compress.export.delegation import lower
from compress.networks.silero import (
    CONTEXT,
    STATE,
    SileroStep,
)
from device_asr.audio.format import STEP
from device_asr.bundle.roles import PCM, PROBABILITY, nth, tensor
from device_asr.bundle.roles import STATE as ROLE


def export_vad(step: SileroStep) -> bytes:
    """The program with the method `step`, fp32: 1.2 MB and about 0.1 ms a step."""
    example = (torch.zeros(1, STEP), torch.zeros(1, CONTEXT), torch.zeros(1, STATE), torch.zeros(1, STATE))
    with torch.no_grad():
        return lower({"step": torch.export.export(step, example)})


def describe() -> dict[str, Any]:
    """The program's method for the manifest."""
    state = [("context", CONTEXT), ("hidden", STATE), ("cell", STATE)]
    return {
        "step": {
            "inputs": [
                tensor("pcm", PCM, [1, STEP]),
                *(tensor(name, nth(ROLE, i), [1, width], start=0.0) for i, (name, width) in enumerate(state)),
            ],
            "outputs": [
                tensor("probability", PROBABILITY, [1, 1]),
                *(tensor(name, nth(ROLE, i), [1, width]) for i, (name, width) in enumerate(state)),
            ],
        }
    }
