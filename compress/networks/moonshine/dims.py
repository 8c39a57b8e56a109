"""Sizes of a Moonshine network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from compress.networks.dims import Dims, common_fields


@dataclass(frozen=True)
class MoonshineDims(Dims):
    """Sizes of a Moonshine network; positions are of 24 ms.

    conv1, conv2: channels of the first two convolutions; the third has as many as the state is wide.
    rotary: the first dimensions of each head, an even number, which rotary position embeddings turn.
    ctc_layers: numbers of encoder layers whose states the CTC head reads besides the last. ctc_reach: positions on each
    side that it reads.
    """

    family: ClassVar[str] = "moonshine"

    conv1: int = field(kw_only=True)
    conv2: int = field(kw_only=True)
    rotary: int = field(kw_only=True)
    ctc_layers: tuple[int, ...] = ()
    ctc_reach: int = 0

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        values = {"conv1": self.conv1, "conv2": self.conv2, "rotary": self.rotary, **super().to_json()}
        heard = {"ctc_layers": list(self.ctc_layers), "ctc_reach": self.ctc_reach}
        return {**values, **{name: value for name, value in heard.items() if value}}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> MoonshineDims:
        """The inverse of `to_json`."""
        return cls(**common_fields({**values, "ctc_layers": tuple(values.get("ctc_layers", ()))}))


def moonshine_dims(dims: Dims) -> MoonshineDims:
    """The dims of a Moonshine network as such.

    Raises:
        TypeError: they are of another family.
    """
    if not isinstance(dims, MoonshineDims):
        raise TypeError(f"wanted the dims of a Moonshine network, found {type(dims).__name__}")
    return dims
