"""Where the tied embedding lies in a program file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from compress.networks.embedding import NAMES
from device_asr.errors import DeviceAsrError


class TieError(DeviceAsrError):
    """The tied embedding does not lie in the program as expected."""


def locate(data: bytes, table: Sequence[Tensor]) -> dict[str, Any]:
    """Where the parts of the table lie in the program: input -> {offset, shape, dtype} for the manifest.

    Raises:
        TieError: the delegate stores the weights in another form.
    """
    found = {}
    for name, tensor in zip(NAMES, table, strict=False):
        offset = data.find(tensor.numpy().tobytes())
        if offset < 0:
            raise TieError(
                f"Wanted the bytes of {name} {tuple(tensor.shape)} in the program, found none: the "
                "delegate stores weights in another form, so the embedding cannot be tied."
            )
        found[name] = {"offset": offset, "shape": list(tensor.shape), "dtype": str(tensor.numpy().dtype)}
    return found
