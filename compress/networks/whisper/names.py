"""Checkpoint formats besides CTranslate2: ours, Hugging Face's and OpenAI's, read and written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from compress.networks.checkpoint import Checkpoint, CheckpointError
from compress.networks.whisper.convert import conv_to_linear, linear_to_conv

# our name of a layer's part -> (OpenAI's, Hugging Face's)
_PARTS = {
    "attention.query": ("attn.query", "self_attn.q_proj"),
    "attention.key": ("attn.key", "self_attn.k_proj"),
    "attention.value": ("attn.value", "self_attn.v_proj"),
    "attention.out": ("attn.out", "self_attn.out_proj"),
    "attention_norm": ("attn_ln", "self_attn_layer_norm"),
    "cross.query": ("cross_attn.query", "encoder_attn.q_proj"),
    "cross.key": ("cross_attn.key", "encoder_attn.k_proj"),
    "cross.value": ("cross_attn.value", "encoder_attn.v_proj"),
    "cross.out": ("cross_attn.out", "encoder_attn.out_proj"),
    "cross_norm": ("cross_attn_ln", "encoder_attn_layer_norm"),
    "ffn.up": ("mlp.0", "fc1"),
    "ffn.down": ("mlp.2", "fc2"),
    "ffn_norm": ("mlp_ln", "final_layer_norm"),
}
_WHOLE = {
    "encoder.positions": ("encoder.positional_embedding", "encoder.embed_positions.weight"),
    "decoder.positions": ("decoder.positional_embedding", "decoder.embed_positions.weight"),
    "decoder.embedding.weight": ("decoder.token_embedding.weight", "decoder.embed_tokens.weight"),
    "encoder.norm": ("encoder.ln_post", "encoder.layer_norm"),
    "decoder.norm": ("decoder.ln", "decoder.layer_norm"),
}
OPENAI, HUGGING_FACE = 0, 1


def their_name(ours: str, style: int) -> str:
    """The name of our tensor in OpenAI's (0) or Hugging Face's (1) checkpoints."""
    side, *rest = ours.split(".")
    if rest[0] == "layers":
        part, kind = ".".join(rest[2:-1]), rest[-1]
        block = ("blocks", "layers")[style]
        return f"{side}.{block}.{rest[1]}.{_PARTS[part][style]}.{kind}"
    for mine, theirs in _WHOLE.items():
        if ours == mine:
            return theirs[style]
        if ours.startswith(mine + "."):
            return f"{theirs[style]}.{rest[-1]}"
    return ours  # the convolutions are named alike


def _ours(found: Mapping[str, Tensor], style: int, layers: Mapping[str, int], where: Path) -> dict[str, Tensor]:
    """Tensors under our names; raises CheckpointError naming the first that is missing."""
    weights = {}
    for name in _tensor_names(layers):
        theirs = their_name(name, style)
        if theirs not in found:
            raise CheckpointError(
                f"{where}: tensor {theirs}: wanted it for {name}, found none; "
                "the checkpoint is incomplete or not a Whisper model."
            )
        tensor = found[theirs].to(torch.float32)
        if name in ("encoder.conv1.weight", "encoder.conv2.weight"):
            if tensor.dim() != 3 or tensor.shape[2] != 3:
                raise CheckpointError(
                    f"{where}: tensor {theirs}: wanted shape (out, in, 3), found {tuple(tensor.shape)}."
                )
            tensor = conv_to_linear(tensor)
        weights[name] = tensor.contiguous()
    return weights


def _tensor_names(layers: Mapping[str, int]) -> list[str]:
    names = [f"encoder.conv{k}.{kind}" for k in (1, 2) for kind in ("weight", "bias")]
    for side, count in layers.items():
        for part in _PARTS:
            if side == "encoder" and part.startswith("cross"):
                continue
            kinds = ("weight",) if part.endswith(".key") else ("weight", "bias")
            names += [f"{side}.layers.{i}.{part}.{kind}" for i in range(count) for kind in kinds]
    names += [f"{side}.norm.{kind}" for side in layers for kind in ("weight", "bias")]
    return [*names, "encoder.positions", "decoder.positions", "decoder.embedding.weight"]


def _theirs(checkpoint: Checkpoint, style: int) -> dict[str, Tensor]:
    if checkpoint.dims.ranks:
        raise CheckpointError(
            f"Layer {checkpoint.dims.ranks[0][0]} is factored: wanted whole layers, which are all "
            "that this format holds; save it in our own."
        )
    out = {}
    for name, tensor in checkpoint.weights.items():
        conv = name in ("encoder.conv1.weight", "encoder.conv2.weight")
        out[their_name(name, style)] = linear_to_conv(tensor) if conv else tensor.contiguous()
    return out


# -- OpenAI ----------------------------------------------------------------------------------------


# -- Hugging Face ----------------------------------------------------------------------------------


# -- ours ------------------------------------------------------------------------------------------
