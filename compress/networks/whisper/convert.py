"""Weights of other programs under the names of this network; dims are read off the tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from compress.networks.checkpoint import (
    Checkpoint,
    CheckpointError,
    check_shapes,
)
from compress.networks.whisper.dims import Dims, LayerDims
from compress.networks.whisper.network import Whisper
from device_asr.bundle.vocabulary import Vocabulary


def conv_to_linear(weight: Tensor) -> Tensor:
    """(out, in, 3) of a convolution to (out, 3 * in) over (previous, this, next) frames."""
    return weight.permute(0, 2, 1).reshape(weight.shape[0], -1).contiguous()


def linear_to_conv(weight: Tensor) -> Tensor:
    """The inverse of `conv_to_linear`."""
    return weight.reshape(weight.shape[0], 3, -1).permute(0, 2, 1).contiguous()


def assemble(
    weights: dict[str, Tensor], heads: Mapping[str, int], vocabulary: Vocabulary, alignment_heads: Any, origin: str
) -> Checkpoint:
    """Reads the dims off the tensors and checks that all of them fit."""
    state = weights["encoder.conv1.weight"].shape[0]

    def layers(side: str) -> tuple[LayerDims, ...]:
        count = len({name.split(".")[2] for name in weights if name.startswith(f"{side}.layers.")})
        return tuple(
            LayerDims(
                heads[side],
                weights[f"{side}.layers.{i}.ffn.up.weight"].shape[0],
                heads[side] if side == "decoder" else 0,
            )
            for i in range(count)
        )

    dims = Dims(
        n_mels=weights["encoder.conv1.weight"].shape[1] // 3,
        state=state,
        head_dim=state // heads["encoder"],
        audio_ctx=weights["encoder.positions"].shape[0],
        text_ctx=weights["decoder.positions"].shape[0],
        vocab=weights["decoder.embedding.weight"].shape[0],
        encoder=layers("encoder"),
        decoder=layers("decoder"),
    )
    if vocabulary.size > dims.vocab:
        raise CheckpointError(
            f"The tokenizer has {vocabulary.size} tokens, the embedding {dims.vocab} rows; "
            "wanted a tokenizer that fits."
        )
    pairs = tuple((int(layer), int(head)) for layer, head in alignment_heads)
    checkpoint = Checkpoint(dims, weights, vocabulary, pairs, (origin,))
    with torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in Whisper(dims).state_dict().items()}
    check_shapes(wanted, {name: tuple(tensor.shape) for name, tensor in weights.items()})
    return checkpoint
