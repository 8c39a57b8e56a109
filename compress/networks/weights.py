"""What can be wrong with weights and with the tokenizer beside them, and the check of shapes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from device_asr.bounded import parse_json, read_bytes
from device_asr.errors import DeviceAsrError

MOST_BYTES = 1 << 26  # of a tokenizer.json; Whisper's has 2.1 MB
COMPUTED_ATOL = 1e-3  # checkpoints in half precision keep sines to 5e-4

Shapes = Mapping[str, tuple[int, ...]]


class CheckpointError(DeviceAsrError):
    """Weights are missing or do not fit the network."""


def shapes_of(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a network's state."""
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def check_shapes(wanted: Shapes, found: Shapes) -> None:
    """Raises CheckpointError naming the first tensor that is missing, unknown or of another shape."""
    for name, shape in wanted.items():
        if name not in found:
            raise CheckpointError(f"Tensor {name}: wanted shape {shape}, found none; the checkpoint is incomplete.")
        if found[name] != shape:
            raise CheckpointError(
                f"Tensor {name}: wanted shape {shape}, found {found[name]}; the checkpoint does not fit its dims."
            )
    unknown = sorted(set(found) - set(wanted))
    if unknown:
        raise CheckpointError(f"Tensor {unknown[0]}: not part of this network; wanted a checkpoint of these dims.")


def read_tokenizer(folder: Path) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Reads the tokenizer.json of a checkpoint of another program.

    Returns:
        the ids of the text by their tokens; the added tokens, each with its `content` and `id`.

    Raises:
        CheckpointError: missing, too large, or none of byte-pair encoding.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise CheckpointError(f"{folder}: wanted tokenizer.json, found none; copy it beside the weights.")
    try:
        stored = parse_json(read_bytes(path, MOST_BYTES))
        ids, added = stored["model"]["vocab"], stored["added_tokens"]
        numbers = [*ids.values(), *(entry["id"] for entry in added)]
        if not all(isinstance(number, int) and number >= 0 for number in numbers):
            raise ValueError("an id that is no whole number of 0 or more")
        if not all(isinstance(entry["content"], str) for entry in added):
            raise ValueError("an added token that is no text")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: wanted a tokenizer of byte-pair encoding, found {error!r}.") from None
    return ids, added
