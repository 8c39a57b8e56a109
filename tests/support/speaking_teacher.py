"""A tiny network that says one thing to everything: its positions point to the tokens that come next."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from compress.networks.checkpoint import Checkpoint
from compress.networks.whisper.dims import WhisperDims
from compress.networks.whisper.network import Whisper
from device_asr.bundle.vocabulary import Vocabulary

BYTES = Vocabulary(tuple(bytes([b]) for b in range(256)), (257, 259), 256, 258)
LISTENS = 1e-3  # of what comes from other positions and from the audio: enough for gradients, too little to matter


def untrained(dims: WhisperDims, vocabulary: Vocabulary, seed: int) -> Checkpoint:
    """Random weights; the alignment heads are the first of each decoder layer's, of as many as there are layers."""
    torch.manual_seed(seed)
    heads = tuple((layer, layer) for layer in range(len(dims.decoder)))
    return Checkpoint(dims, Whisper(dims).state_dict(), vocabulary, heads, ("random",))


def speaking(dims: WhisperDims, vocabulary: Vocabulary, said: Sequence[int], listens: float = LISTENS) -> Checkpoint:
    """A network that writes the ids `said` and then the end, whatever the audio."""
    weights = {name: value.clone() for name, value in untrained(dims, vocabulary, 0).weights.items()}
    for name in weights:
        if name.endswith(("attention.out.weight", "cross.out.weight", "ffn.down.weight")):
            weights[name] *= listens
    embedding = torch.nn.functional.normalize(weights["decoder.embedding.weight"], dim=1)
    weights["decoder.embedding.weight"] = embedding
    weights["decoder.positions"].zero_()
    for at, token in enumerate([*said, vocabulary.end]):
        weights["decoder.positions"][1 + at] = 5 * embedding[token]
    return Checkpoint(dims, weights, vocabulary, untrained(dims, vocabulary, 0).alignment_heads, ("random",))
