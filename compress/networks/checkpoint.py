"""A network's weights with everything needed to use them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from compress.networks.whisper.dims import Dims
from compress.networks.whisper.network import Whisper
from device_asr.bundle.symbols import SYMBOLS
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.errors import DeviceAsrError


class CheckpointError(DeviceAsrError):
    """Weights are missing or do not fit the network."""


@dataclass(frozen=True)
class Checkpoint:
    """A network's weights with everything needed to use them.

    weights: the state of `compress.networks.whisper.network.Whisper(dims)`, float32.
    alignment_heads: (decoder layer, head) pairs whose cross-attention follows the words.
    provenance: what was done to it, oldest first; goes into the model's card.
    """

    dims: Dims
    weights: Mapping[str, Tensor]
    vocabulary: Vocabulary
    alignment_heads: tuple[tuple[int, int], ...]
    provenance: tuple[str, ...] = field(default=())

    def network(self) -> Whisper:
        """The network with these weights, in evaluation mode.

        Raises:
            CheckpointError: a tensor is missing, unknown, or of the wrong shape.
        """
        with torch.device("meta"):
            network = Whisper(self.dims)
        wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        check_shapes(wanted, {name: tuple(tensor.shape) for name, tensor in self.weights.items()})
        network = Whisper(self.dims)
        network.load_state_dict(dict(self.weights))
        return network.eval()

    @property
    def learned(self) -> dict[str, Tensor]:
        """The weights, the tied embedding once; the encoder's positions are sines, which are computed."""
        return learned(self.weights)

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(tensor.numel() for tensor in self.learned.values())


def learned(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a network that are weights, see `Checkpoint.learned`."""
    return {name: tensor for name, tensor in weights.items() if name != "encoder.positions"}


def add_ctc(checkpoint: Checkpoint, seed: int = 0) -> Checkpoint:
    """The checkpoint with a CTC head over the letters of `device_asr.decoding.ctc`, untrained: every symbol alike."""
    dims = replace(checkpoint.dims, ctc=len(SYMBOLS) + 1)
    return _with(checkpoint, dims, r"^ctc\.out\.", seed, f"CTC head over {dims.ctc} symbols")


def add_adapters(checkpoint: Checkpoint, rank: int, seed: int = 0) -> Checkpoint:
    """The checkpoint with adapters of the encoder that hears in chunks, untrained: they change nothing."""
    return _with(
        checkpoint,
        replace(checkpoint.dims, adapters=rank),
        r"adapters\..*\.up\.(weight|bias)$",
        seed,
        f"adapters of rank {rank} where it hears in chunks",
    )


def _with(checkpoint: Checkpoint, dims: Dims, silent: str, seed: int, note: str) -> Checkpoint:
    """The checkpoint with what `dims` adds to its network, as modules begin; zeros where `silent` is found."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = Whisper(dims).state_dict()
    added = {
        name: torch.zeros_like(tensor) if re.search(silent, name) else tensor
        for name, tensor in fresh.items()
        if name not in checkpoint.weights
    }
    return replace(
        checkpoint, dims=dims, weights={**checkpoint.weights, **added}, provenance=(*checkpoint.provenance, note)
    )


def check_shapes(wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> None:
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
        raise CheckpointError(f"Tensor {unknown[0]}: not part of this network; wanted a plain Whisper checkpoint.")


def fingerprint(checkpoint: Checkpoint) -> str:
    """16 hex digits of all weights and token ids: checkpoints that could answer otherwise never share it."""
    digest = hashlib.sha256(
        repr(
            (
                checkpoint.dims,
                sorted(checkpoint.vocabulary.special.items()),
                checkpoint.vocabulary.suppress,
                checkpoint.vocabulary.suppress_first,
            )
        ).encode()
    )
    digest.update(b"\n".join(checkpoint.vocabulary.tokens))
    for name in sorted(checkpoint.weights):
        digest.update(name.encode() + checkpoint.weights[name].contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
