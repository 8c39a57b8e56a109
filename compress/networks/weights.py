"""What can be wrong with weights, and the check of their shapes."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from device_asr.errors import DeviceAsrError

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
