"""Weights of other programs under the names of this network; dims are read off the tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from compress.networks.dims import LayerDims, check_layers
from compress.networks.family import Converted, Foreign
from compress.networks.layers import conv_to_linear
from compress.networks.weights import CheckpointError
from compress.networks.whisper.dims import WhisperDims
from compress.networks.whisper.names import (
    CTRANSLATE2_NORMS,
    HUGGING_FACE,
    OPENAI,
    is_convolution,
    tensor_names,
    their_name,
)
from compress.networks.whisper.tokens import load_vocabulary
from device_asr.bundle.vocabulary import Vocabulary

SIDES = ("encoder", "decoder")


def convert(foreign: Foreign) -> Converted:
    """A checkpoint of CTranslate2, Hugging Face or OpenAI as this network's.

    Raises:
        CheckpointError: a tensor, a setting or the tokenizer is missing or does not fit.
    """
    return {"ctranslate2": _ctranslate2, "hugging_face": _hugging_face, "openai": _openai}[foreign.format](foreign)


def _ctranslate2(foreign: Foreign) -> Converted:
    raw, folder = foreign.tensors, foreign.source

    def get(name: str) -> Tensor:
        if name not in raw:
            raise CheckpointError(f"{folder}: tensor {name} is missing; wanted a complete WhisperSpec.")
        return raw[name].to(torch.float32)

    weights: dict[str, Tensor] = {}

    def linear(ours: str, theirs: str, rows: slice = slice(None), bias: bool = True) -> None:
        weights[f"{ours}.weight"] = get(f"{theirs}/weight")[rows].clone()
        if bias:
            weights[f"{ours}.bias"] = get(f"{theirs}/bias")[rows].clone()

    def norm(ours: str, theirs: str) -> None:
        weights[f"{ours}.weight"], weights[f"{ours}.bias"] = get(f"{theirs}/gamma"), get(f"{theirs}/beta")

    state = get("encoder/conv1/weight").shape[0]
    for side in SIDES:
        layers = {name.split("/")[1] for name in raw if name.startswith(f"{side}/layer_") and name.count("/") > 2}
        for i in range(len(layers)):
            ours, theirs = f"{side}.layers.{i}", f"{side}/layer_{i}"
            fused = f"{theirs}/self_attention/linear_0"  # query, key and value in one matrix
            linear(f"{ours}.attention.query", fused, slice(0, state))
            linear(f"{ours}.attention.key", fused, slice(state, 2 * state), bias=False)
            linear(f"{ours}.attention.value", fused, slice(2 * state, 3 * state))
            linear(f"{ours}.attention.out", f"{theirs}/self_attention/linear_1")
            if side == "decoder":
                linear(f"{ours}.cross.query", f"{theirs}/attention/linear_0")
                linear(f"{ours}.cross.key", f"{theirs}/attention/linear_1", slice(0, state), bias=False)
                linear(f"{ours}.cross.value", f"{theirs}/attention/linear_1", slice(state, 2 * state))
                linear(f"{ours}.cross.out", f"{theirs}/attention/linear_2")
            linear(f"{ours}.ffn.up", f"{theirs}/ffn/linear_0")
            linear(f"{ours}.ffn.down", f"{theirs}/ffn/linear_1")
            for our_norm, their_norm in CTRANSLATE2_NORMS.items():
                if side == "decoder" or our_norm != "cross_norm":
                    norm(f"{ours}.{our_norm}", f"{theirs}/{their_norm}")
        weights[f"{side}.positions"] = get(f"{side}/position_encodings/encodings")
        norm(f"{side}.norm", f"{side}/layer_norm")
    for conv in ("conv1", "conv2"):
        weights[f"encoder.{conv}.weight"] = conv_to_linear(get(f"encoder/{conv}/weight"))
        weights[f"encoder.{conv}.bias"] = get(f"encoder/{conv}/bias")
    weights["decoder.embedding.weight"] = get("decoder/embeddings/weight")
    heads = {side: int(raw[f"{side}/num_heads"]) for side in SIDES}
    vocabulary = load_vocabulary(foreign.tokenizer, foreign.config)
    return _assembled(weights, heads, vocabulary, foreign.config.get("alignment_heads", ()))


def _hugging_face(foreign: Foreign) -> Converted:
    config, extra = foreign.config, foreign.config["generation"]
    try:
        layers = {side: int(config[f"{side}_layers"]) for side in SIDES}
        heads = {side: int(config[f"{side}_attention_heads"]) for side in SIDES}
    except KeyError as error:
        raise CheckpointError(f"{foreign.source}/config.json: wanted {error} of a Whisper model, found none.") from None
    settings = {
        "suppress_ids": extra.get("suppress_tokens") or config.get("suppress_tokens") or (),
        "suppress_ids_begin": extra.get("begin_suppress_tokens") or config.get("begin_suppress_tokens") or (),
    }
    tensors = {name.removeprefix("model."): tensor for name, tensor in foreign.tensors.items()}
    weights = _renamed(tensors, HUGGING_FACE, layers, foreign.source)
    return _assembled(weights, heads, load_vocabulary(foreign.tokenizer, settings), extra.get("alignment_heads") or ())


def _openai(foreign: Foreign) -> Converted:
    dims, config = foreign.config["dims"], foreign.config
    layers = {"encoder": int(dims["n_audio_layer"]), "decoder": int(dims["n_text_layer"])}
    heads = {"encoder": int(dims["n_audio_head"]), "decoder": int(dims["n_text_head"])}
    weights = _renamed(foreign.tensors, OPENAI, layers, foreign.source)
    found = config["alignment_heads"]  # tiny.en's: a network of fewer layers or heads has some of them
    pairs = [(i, head) for i, head in found if i < layers["decoder"] and head < heads["decoder"]]
    return _assembled(weights, heads, load_vocabulary(foreign.tokenizer, config), pairs)


def _renamed(found: Mapping[str, Tensor], style: int, layers: Mapping[str, int], where: Path) -> dict[str, Tensor]:
    """Tensors under our names; raises CheckpointError naming the first that is missing."""
    for count in layers.values():
        check_layers(count)
    weights = {}
    for name in tensor_names(layers):
        theirs = their_name(name, style)
        if theirs not in found:
            raise CheckpointError(
                f"{where}: tensor {theirs}: wanted it for {name}, found none; "
                "the checkpoint is incomplete or not a Whisper model."
            )
        tensor = found[theirs].to(torch.float32)
        if is_convolution(name):
            if tensor.dim() != 3 or tensor.shape[2] != 3:
                raise CheckpointError(
                    f"{where}: tensor {theirs}: wanted shape (out, in, 3), found {tuple(tensor.shape)}."
                )
            tensor = conv_to_linear(tensor)
        weights[name] = tensor.contiguous()
    return weights


def _assembled(
    weights: dict[str, Tensor], heads: Mapping[str, int], vocabulary: Vocabulary, alignment_heads: Any
) -> Converted:
    """Reads the dims off the tensors."""
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

    dims = WhisperDims(
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
    return Converted(dims, weights, vocabulary, pairs)
