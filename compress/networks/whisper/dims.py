"""Sizes of a Whisper network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from compress.networks.dims import Dims, common_fields


@dataclass(frozen=True)
class WhisperDims(Dims):
    """Sizes of a Whisper network; positions are of 20 ms. n_mels: bands of the spectrogram."""

    family: ClassVar[str] = "whisper"

    n_mels: int = field(kw_only=True)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"n_mels": self.n_mels, **super().to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> WhisperDims:
        """The inverse of `to_json`."""
        return cls(**common_fields(values))


def whisper_dims(dims: Dims) -> WhisperDims:
    """The dims of a Whisper network as such.

    Raises:
        TypeError: they are of another family.
    """
    if not isinstance(dims, WhisperDims):
        raise TypeError(f"wanted the dims of a Whisper network, found {type(dims).__name__}")
    return dims
