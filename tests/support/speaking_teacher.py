"""A tiny network that says one thing to everything: its positions or the last token point to what comes next."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from compress.networks.checkpoint import Checkpoint
from compress.networks.dims import Dims
from compress.networks.family import family_of
from device_asr.bundle.vocabulary import Vocabulary

BYTES = Vocabulary(tuple(bytes([b]) for b in range(256)), (257, 259), 256, 258)
LISTENS = 1e-3  # of what comes from other positions and from the audio: enough for gradients, too little to matter


def untrained(dims: Dims, vocabulary: Vocabulary, seed: int) -> Checkpoint:
    """Random weights; the alignment heads are the first of each decoder layer's, of as many as there are layers."""
    torch.manual_seed(seed)
    heads = tuple((layer, layer) for layer in range(len(dims.decoder)))
    return Checkpoint(dims, family_of(dims).network(dims).state_dict(), vocabulary, heads, ("random",))


def speaking(dims: Dims, vocabulary: Vocabulary, said: Sequence[int], listens: float = LISTENS) -> Checkpoint:
    """A network that writes the ids `said` and then the end, whatever the audio.

    Args:
        said: each id once, where the family's decoder does not know at which position it is.
    """
    weights = {name: value.clone() for name, value in untrained(dims, vocabulary, 0).weights.items()}
    for name in weights:
        if name.endswith(("attention.out.weight", "cross.out.weight", "ffn.down.weight")):
            weights[name] *= listens
    embedding = weights["decoder.embedding.weight"]
    embedding = torch.nn.functional.normalize(embedding - embedding.mean(1, keepdim=True), dim=1)
    weights["decoder.embedding.weight"] = embedding
    following = [*said, vocabulary.end]
    if "decoder.positions" in weights:
        weights["decoder.positions"].zero_()
        for at, token in enumerate(following):
            weights["decoder.positions"][1 + at] = 5 * embedding[token]
    else:
        _chain(weights, f"decoder.layers.{len(dims.decoder) - 1}.ffn", [vocabulary.prompt[-1], *said], following)
    return Checkpoint(dims, weights, vocabulary, untrained(dims, vocabulary, 0).alignment_heads, ("random",))


def _chain(weights: dict[str, Tensor], ffn: str, last: Sequence[int], following: Sequence[int]) -> None:
    """Lets a SwiGLU layer add the next token to the last one, in place: a channel, value and gate, for each pair."""
    embedding, up, down = (
        weights["decoder.embedding.weight"],
        weights[f"{ffn}.up.weight"],
        weights[f"{ffn}.down.weight"],
    )
    channels = down.shape[1]
    for k, (token, after) in enumerate(zip(last, following, strict=True)):
        up[k] = up[channels + k] = embedding[token]  # about 5 for that token, squared by its gate
        down[:, k] = embedding[after] / 5
    weights[f"{ffn}.up.bias"].zero_()
