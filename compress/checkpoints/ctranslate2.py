"""Whisper weights as one `Checkpoint`, whatever they came in; dims are read, never assumed."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compress.networks.checkpoint import Checkpoint, CheckpointError
from compress.networks.whisper.convert import assemble, conv_to_linear
from compress.networks.whisper.tokens import load_vocabulary

# -- CTranslate2 ---------------------------------------------------------------------------------

_CT2_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def _read_ctranslate2_tensors(path: Path) -> dict[str, np.ndarray]:
    """name -> array of a model.bin, version 6: header, then records of name, shape, dtype, bytes."""
    data = path.read_bytes()
    offset = 0

    def take(layout: str) -> tuple[Any, ...]:
        nonlocal offset
        values = struct.unpack_from("<" + layout, data, offset)
        offset += struct.calcsize("<" + layout)
        return values

    def text() -> str:
        nonlocal offset
        (length,) = take("H")
        value = data[offset : offset + length - 1].decode()  # ends in a NUL
        offset += length
        return value

    try:
        (version,) = take("I")
        if version != 6:
            raise CheckpointError(f"{path}: wanted CTranslate2 binary version 6, found {version}.")
        kind, _revision = text(), take("I")
        if kind != "WhisperSpec":
            raise CheckpointError(f"{path}: wanted a WhisperSpec, found {kind}.")
        tensors: dict[str, np.ndarray] = {}
        for _ in range(take("I")[0]):
            name = text()
            (rank,) = take("B")
            shape = take(f"{rank}I")
            dtype_id, size = take("BI")
            if dtype_id not in _CT2_DTYPES:
                raise CheckpointError(f"{path}: tensor {name}: wanted a dtype id of 0 to 4, found {dtype_id}.")
            array = np.frombuffer(
                data, _CT2_DTYPES[dtype_id], offset=offset, count=size // np.dtype(_CT2_DTYPES[dtype_id]).itemsize
            )
            tensors[name] = array.reshape(shape)
            offset += size
        return tensors
    except (struct.error, ValueError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is damaged or cut short at byte {offset} of {len(data)}: {error}.") from None


_CT2_LAYER = {
    "attention_norm": "self_attention/layer_norm",
    "cross_norm": "attention/layer_norm",
    "ffn_norm": "ffn/layer_norm",
}


def load_ctranslate2(folder: Path) -> Checkpoint:
    """Whisper from a CTranslate2 folder (model.bin, config.json, tokenizer.json), fp16 or fp32."""
    raw = _read_ctranslate2_tensors(folder / "model.bin")
    if "encoder/conv1/weight_scale" in raw or any(name.endswith("weight_scale") for name in raw):
        raise CheckpointError(f"{folder}: wanted float weights, found int8; convert the model with float16 weights.")

    def get(name: str) -> Tensor:
        if name not in raw:
            raise CheckpointError(f"{folder}: tensor {name} is missing; wanted a complete WhisperSpec.")
        return torch.from_numpy(raw[name].astype(np.float32))

    weights: dict[str, Tensor] = {}

    def linear(ours: str, theirs: str, rows: slice = slice(None), bias: bool = True) -> None:
        weights[f"{ours}.weight"] = get(f"{theirs}/weight")[rows].clone()
        if bias:
            weights[f"{ours}.bias"] = get(f"{theirs}/bias")[rows].clone()

    def norm(ours: str, theirs: str) -> None:
        weights[f"{ours}.weight"], weights[f"{ours}.bias"] = get(f"{theirs}/gamma"), get(f"{theirs}/beta")

    state = get("encoder/conv1/weight").shape[0]
    counts = {}
    for side in ("encoder", "decoder"):
        layer_names = {name.split("/")[1] for name in raw if name.startswith(f"{side}/layer_") and name.count("/") > 2}
        counts[side] = len(layer_names)
        for i in range(counts[side]):
            ours, theirs = f"{side}.layers.{i}", f"{side}/layer_{i}"
            fused = f"{theirs}/self_attention/linear_0"
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
            for our_norm, their_norm in _CT2_LAYER.items():
                if side == "decoder" or our_norm != "cross_norm":
                    norm(f"{ours}.{our_norm}", f"{theirs}/{their_norm}")
        weights[f"{side}.positions"] = get(f"{side}/position_encodings/encodings")
        norm(f"{side}.norm", f"{side}/layer_norm")
    for conv in ("conv1", "conv2"):
        weights[f"encoder.{conv}.weight"] = conv_to_linear(get(f"encoder/{conv}/weight"))
        weights[f"encoder.{conv}.bias"] = get(f"encoder/{conv}/bias")
    weights["decoder.embedding.weight"] = get("decoder/embeddings/weight")

    heads = {side: int(raw[f"{side}/num_heads"]) for side in counts}
    config = json.loads((folder / "config.json").read_text())
    vocabulary = load_vocabulary(folder, config)
    return assemble(weights, heads, vocabulary, config.get("alignment_heads", ()), f"CTranslate2 folder {folder.name}")


# -- tokens ----------------------------------------------------------------------------------------
