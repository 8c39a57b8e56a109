"""Moonshine checkpoints written as other programs write them: ONNX Runtime's format, and Hugging Face's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import torch
from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs import Graph, InferenceSession, Model, Node
from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs import Tensor as OrtTensor
from safetensors.torch import save_file
from torch import Tensor

from compress.networks.checkpoint import Checkpoint
from compress.networks.moonshine.dims import moonshine_dims
from compress.networks.moonshine.names import HUGGING_FACE, ONNXRUNTIME, their_names
from compress.networks.moonshine.rotary import halves_first

WIDTHS = {"conv1": 128, "conv2": 7, "conv3": 3}
SPACE = "\u2581"


def _theirs(checkpoint: Checkpoint, style: int) -> dict[str, Tensor]:
    """The tensors under another program's names: convolutions with three axes, pairs turned, the text behind three."""
    dims = moonshine_dims(checkpoint.dims)
    layers = {"encoder": len(dims.encoder), "decoder": len(dims.decoder)}
    found = {}
    for ours, theirs in their_names(layers, style).items():
        tensor, part = checkpoint.weights[ours], ours.split(".")[1]
        if part in WIDTHS and tensor.dim() == 2:
            tensor = tensor.view(len(tensor), WIDTHS[part], -1).transpose(1, 2)[:, :, :127]
        elif ours.endswith(("attention.query.weight", "attention.key.weight")):
            heads = getattr(dims, ours.split(".")[0])[int(ours.split(".")[2])].heads
            turned = torch.empty_like(tensor)
            turned[halves_first(heads, dims.head_dim, dims.rotary)] = tensor
            tensor = turned
        elif ours == "decoder.embedding.weight":
            text = len(checkpoint.vocabulary.tokens)
            tensor = torch.cat([torch.zeros(1, tensor.shape[1]), tensor[[text + 1, text]], tensor[:text]])
        found[theirs] = tensor.contiguous()
    return found


def save_hugging_face(checkpoint: Checkpoint, folder: Path) -> None:
    """Writes config.json, model.safetensors and tokenizer.json, as transformers does for Moonshine."""
    dims = moonshine_dims(checkpoint.dims)
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_type": "moonshine",
        "hidden_size": dims.state,
        "intermediate_size": dims.encoder[0].ffn,
        "vocab_size": dims.vocab + 1,
        "encoder_num_hidden_layers": len(dims.encoder),
        "decoder_num_hidden_layers": len(dims.decoder),
        "encoder_num_attention_heads": dims.encoder[0].heads,
        "decoder_num_attention_heads": dims.decoder[0].heads,
        "partial_rotary_factor": (dims.rotary + 0.2) / dims.head_dim,
        "max_position_embeddings": dims.text_ctx,
        "decoder_start_token_id": 1,
        "eos_token_id": 2,
    }
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += [token.decode().replace(" ", SPACE) for token in checkpoint.vocabulary.tokens[256:]]
    tokenizer = {
        "added_tokens": [{"id": i, "content": pieces[i], "special": True} for i in range(3)],
        "model": {"type": "BPE", "vocab": {piece: i for i, piece in enumerate(pieces)}, "merges": []},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    save_file(
        {f"model.{name}": t for name, t in _theirs(checkpoint, HUGGING_FACE).items()}, folder / "model.safetensors"
    )


def save_onnxruntime(checkpoint: Checkpoint, folder: Path, eight_bits: str = "") -> None:
    """Writes encoder_model.ort, decoder_model_merged.ort and tokenizer.bin.

    Args:
        eight_bits: the name, in the file, of a matrix that is written in 8 bits with a scale and an offset.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = _theirs(checkpoint, ONNXRUNTIME)
    for side, file in (("encoder", "encoder_model.ort"), ("decoder", "decoder_model_merged.ort")):
        own = {name.removeprefix(f"{side}."): t for name, t in tensors.items() if name.startswith(f"{side}.")}
        (folder / file).write_bytes(ort_model(own, eight_bits))
    pieces = [b"", b"", b"", *checkpoint.vocabulary.tokens]
    (folder / "tokenizer.bin").write_bytes(b"".join(_piece(piece.replace(b" ", SPACE.encode())) for piece in pieces))


def _piece(piece: bytes) -> bytes:
    size = len(piece)
    return (bytes([size]) if size < 128 else bytes([size % 128 + 128, size // 128])) + piece


def ort_model(weights: Mapping[str, Tensor], eight_bits: str = "") -> bytes:
    """A model of nodes that use these weights, as `layers.0.mlp.fc1.weight`; no weight has its node's name."""
    builder, stored, nodes = flatbuffers.Builder(1 << 16), [], []
    for number, (name, tensor) in enumerate(weights.items()):
        module, _, kind = name.rpartition(".")
        operator = _operator(module, kind)
        values = (tensor.t() if operator == "MatMul" else tensor).contiguous().numpy()
        values = values[:, None] if module == "groupnorm" else values
        own = f"onnx::{operator}_{number}"
        if name == eight_bits:
            scale = np.float32(np.abs(values).max() / 100)
            codes = np.round(values / scale).astype(np.int8)
            parts = {"_quantized": codes, "_scale": scale.reshape(1), "_zero_point": np.full(1, 0.25, np.float32)}
            stored += [_tensor(builder, own + end, part) for end, part in parts.items()]
            own += "_add_tensor"
        else:
            stored.append(_tensor(builder, own, values))
        path = module.replace(".", "/").replace("layers/", "layers.")
        nodes.append(_node(builder, f"/{path}/{operator}", operator, _inputs(operator, kind, own)))
    return _session(builder, stored, nodes)


def _inputs(operator: str, kind: str, own: str) -> list[str]:
    """A weight's place among the inputs of its node."""
    if operator == "Gather":
        return [own, "x"]
    return ["x", "w", own] if operator == "Conv" and kind == "bias" else ["x", own]


def _operator(module: str, kind: str) -> str:
    if module.startswith("conv"):
        return "Conv"
    if "embed" in module:
        return "Gather"
    return {"bias": "Add", "weight": "Mul" if "norm" in module else "MatMul"}[kind]


def _tensor(builder: Any, name: str, values: np.ndarray) -> int:
    own, raw = builder.CreateString(name), builder.CreateByteVector(values.tobytes())
    dims = builder.CreateNumpyVector(np.array(values.shape, np.int64))
    OrtTensor.TensorStart(builder)
    OrtTensor.TensorAddName(builder, own)
    OrtTensor.TensorAddDims(builder, dims)
    OrtTensor.TensorAddDataType(builder, 3 if values.dtype == np.int8 else 1)
    OrtTensor.TensorAddRawData(builder, raw)
    return OrtTensor.TensorEnd(builder)


def _node(builder: Any, name: str, operator: str, inputs: list[str]) -> int:
    own, kind = builder.CreateString(name), builder.CreateString(operator)
    given = _offsets(builder, [builder.CreateString(one) for one in inputs])
    Node.NodeStart(builder)
    Node.NodeAddName(builder, own)
    Node.NodeAddOpType(builder, kind)
    Node.NodeAddInputs(builder, given)
    return Node.NodeEnd(builder)


def _session(builder: Any, stored: list[int], nodes: list[int]) -> bytes:
    initializers, operators = _offsets(builder, stored), _offsets(builder, nodes)
    Graph.GraphStart(builder)
    Graph.GraphAddInitializers(builder, initializers)
    Graph.GraphAddNodes(builder, operators)
    graph = Graph.GraphEnd(builder)
    Model.ModelStart(builder)
    Model.ModelAddGraph(builder, graph)
    model = Model.ModelEnd(builder)
    InferenceSession.InferenceSessionStart(builder)
    InferenceSession.InferenceSessionAddModel(builder, model)
    builder.Finish(InferenceSession.InferenceSessionEnd(builder), b"ORTM")
    return bytes(builder.Output())


def _offsets(builder: Any, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()
