"""A network's weights with everything needed to use them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from compress.networks.adapters import LayerAdapters
from compress.networks.dims import Dims
from compress.networks.family import Family, Foreign, family_named, family_of
from compress.networks.layers import CtcHead
from compress.networks.network import SpeechNetwork
from compress.networks.weights import check_shapes, shapes_of
from device_asr.bundle.symbols import SYMBOLS
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.errors import UsageError


@dataclass(frozen=True)
class Checkpoint:
    """A network's weights with everything needed to use them.

    weights: the state of the family's network of these dims, float32.
    alignment_heads: (decoder layer, head) pairs whose cross-attention follows the words.
    provenance: what was done to it, oldest first; goes into the model's card.
    """

    dims: Dims
    weights: Mapping[str, Tensor]
    vocabulary: Vocabulary
    alignment_heads: tuple[tuple[int, int], ...]
    provenance: tuple[str, ...] = field(default=())

    @property
    def family(self) -> str:
        """The name of the network's family."""
        return self.dims.family

    def family_of(self) -> Family:
        """The network's family."""
        return family_of(self.dims)

    def network(self) -> SpeechNetwork:
        """The network with these weights, in evaluation mode.

        Raises:
            CheckpointError: a tensor is missing, unknown, or of the wrong shape.
        """
        self.check()
        network = self.family_of().network(self.dims)
        network.load_state_dict(dict(self.weights))
        return network.eval()

    def check(self) -> None:
        """Raises CheckpointError where a tensor is missing, unknown, or of the wrong shape."""
        with torch.device("meta"):
            network = self.family_of().network(self.dims)
        check_shapes(shapes_of(network), {name: tuple(tensor.shape) for name, tensor in self.weights.items()})

    @property
    def learned(self) -> dict[str, Tensor]:
        """The weights without the tensors that are computed, such as sines; the tied embedding once."""
        computed = self.family_of().computed(self.dims)
        return {name: tensor for name, tensor in self.weights.items() if name not in computed}

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(tensor.numel() for tensor in self.learned.values())

    def key(self) -> str:
        """16 hex digits of the sizes, the tokens and all weights: equal only where the text of any audio is."""
        vocabulary = self.vocabulary
        facts = [
            self.dims.key(),
            [list(vocabulary.prompt), vocabulary.end, vocabulary.no_speech],
            list(vocabulary.suppress),
            list(vocabulary.suppress_first),
        ]
        digest = hashlib.sha256(json.dumps(facts).encode())
        digest.update(b"\n".join(vocabulary.tokens))
        for name in sorted(self.weights):
            digest.update(name.encode() + self.weights[name].contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def from_foreign(family: str, foreign: Foreign, origin: str) -> Checkpoint:
    """A checkpoint of another program as one of a family.

    Args:
        origin: where it comes from, the first line of its provenance.

    Raises:
        CheckpointError: an unknown family, or tensors that are missing or do not fit.
    """
    found = family_named(family).convert(foreign)
    checkpoint = Checkpoint(found.dims, found.weights, found.vocabulary, found.alignment_heads, (origin,))
    checkpoint.check()
    return checkpoint


def add_ctc(checkpoint: Checkpoint, layers: tuple[int, ...] = (), reach: int = 0, seed: int = 0) -> Checkpoint:
    """The checkpoint with a CTC head over `device_asr.bundle.symbols`, untrained: every symbol alike.

    Args:
        layers: numbers of encoder layers that it reads besides the last. reach: positions on each side that it reads.

    Raises:
        UsageError: the family's head reads the last states of one position alone, or there is no such layer.
    """
    known = {f.name for f in fields(checkpoint.dims)}
    if (layers or reach) and not {"ctc_layers", "ctc_reach"} <= known:
        raise UsageError(f"ctc: wanted no layers and a reach of 0 for {checkpoint.family}, found {layers} and {reach}.")
    if any(layer >= len(checkpoint.dims.encoder) - 1 for layer in layers):
        raise UsageError(
            f"ctc.layers: wanted encoder layers before the last, 0 to {len(checkpoint.dims.encoder) - 2}, "
            f"found {list(layers)}."
        )
    more: dict[str, Any] = {"ctc_layers": layers, "ctc_reach": reach} if layers or reach else {}
    dims = replace(checkpoint.dims, ctc=len(SYMBOLS) + 1, **more)
    read = f", of layers {', '.join(map(str, layers))} too" if layers else ""
    around = f", {reach} positions on each side" if reach else ""
    return _extended(checkpoint, dims, seed, f"CTC head over {dims.ctc} symbols{read}{around}")


def add_adapters(checkpoint: Checkpoint, rank: int, seed: int = 0) -> Checkpoint:
    """The checkpoint with adapters for encoding in chunks, untrained: they change nothing."""
    dims = replace(checkpoint.dims, adapters=rank)
    return _extended(checkpoint, dims, seed, f"adapters of rank {rank} for encoding in chunks")


def _extended(checkpoint: Checkpoint, dims: Dims, seed: int, note: str) -> Checkpoint:
    """The checkpoint with the tensors that `dims` adds to its network, in their initial, silent state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = family_of(dims).network(dims)
    for module in fresh.modules():
        if isinstance(module, CtcHead | LayerAdapters):
            module.silence()
    added = {name: tensor for name, tensor in fresh.state_dict().items() if name not in checkpoint.weights}
    return replace(
        checkpoint, dims=dims, weights={**checkpoint.weights, **added}, provenance=(*checkpoint.provenance, note)
    )
