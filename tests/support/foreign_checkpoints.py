"""Checkpoints written as other programs write them, to test that they are read."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from compress.networks.checkpoint import Checkpoint
from compress.networks.dims import LayerDims
from compress.networks.weights import CheckpointError
from compress.networks.whisper.dims import WhisperDims, whisper_dims
from compress.networks.whisper.names import CTRANSLATE2_NORMS, HUGGING_FACE, OPENAI, is_convolution, their_name
from compress.networks.whisper.network import Whisper
from device_asr.bundle.vocabulary import Vocabulary


def small(vocabulary: Vocabulary) -> Checkpoint:
    """A random network of the teacher's vocabulary, two layers of width 16."""
    torch.manual_seed(0)
    dims = WhisperDims(
        n_mels=8,
        state=16,
        head_dim=8,
        audio_ctx=40,
        text_ctx=24,
        vocab=51864,
        encoder=(LayerDims(2, 32),) * 2,
        decoder=(LayerDims(2, 24, 2),) * 2,
    )
    return Checkpoint(dims, Whisper(dims).state_dict(), vocabulary, ((1, 0), (1, 1)), ("random",))


def _renamed(checkpoint: Checkpoint, style: int) -> dict[str, Tensor]:
    if checkpoint.dims.ranks:
        raise CheckpointError(
            f"Layer {checkpoint.dims.ranks[0][0]} is factored: wanted whole layers, which are all "
            "that this format holds; save it in our own."
        )
    return {
        their_name(name, style): _conv(tensor) if is_convolution(name) else tensor.contiguous()
        for name, tensor in checkpoint.weights.items()
    }


def _conv(weight: Tensor) -> Tensor:
    """The inverse of `layers.conv_to_linear`."""
    return weight.reshape(weight.shape[0], 3, -1).permute(0, 2, 1).contiguous()


def save_hugging_face(checkpoint: Checkpoint, folder: Path, tokenizer: Path) -> None:
    """Writes config.json, generation_config.json, model.safetensors; `tokenizer` is copied beside them."""
    dims = whisper_dims(checkpoint.dims)
    encoder, decoder = dims.encoder, dims.decoder
    tensors = {f"model.{name}": tensor for name, tensor in _renamed(checkpoint, HUGGING_FACE).items()}
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_type": "whisper",
        "d_model": dims.state,
        "num_mel_bins": dims.n_mels,
        "vocab_size": dims.vocab,
        "max_source_positions": dims.audio_ctx,
        "max_target_positions": dims.text_ctx,
        "encoder_layers": len(encoder),
        "encoder_attention_heads": encoder[0].heads,
        "encoder_ffn_dim": encoder[0].ffn,
        "decoder_layers": len(decoder),
        "decoder_attention_heads": decoder[0].heads,
        "decoder_ffn_dim": decoder[0].ffn,
    }
    generation = {
        "alignment_heads": checkpoint.alignment_heads,
        "suppress_tokens": checkpoint.vocabulary.suppress,
        "begin_suppress_tokens": checkpoint.vocabulary.suppress_first,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=1))
    (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    save_file(tensors, folder / "model.safetensors")


def save_openai(checkpoint: Checkpoint, path: Path) -> None:
    """Writes the checkpoint as OpenAI's .pt; its layers must all be of one size."""
    dims = whisper_dims(checkpoint.dims)
    encoder, decoder = dims.encoder, dims.decoder
    values = {
        "n_mels": dims.n_mels,
        "n_vocab": dims.vocab,
        "n_audio_ctx": dims.audio_ctx,
        "n_audio_state": dims.state,
        "n_audio_head": encoder[0].heads,
        "n_audio_layer": len(encoder),
        "n_text_ctx": dims.text_ctx,
        "n_text_state": dims.state,
        "n_text_head": decoder[0].heads,
        "n_text_layer": len(decoder),
    }
    torch.save({"dims": values, "model_state_dict": _renamed(checkpoint, OPENAI)}, path)


def save_ctranslate2(checkpoint: Checkpoint, folder: Path, tokenizer: Path) -> None:
    """Writes model.bin (version 6, float32), config.json, and the tokenizer, as CTranslate2's converter does."""
    weights, dims = checkpoint.weights, whisper_dims(checkpoint.dims)
    arrays: dict[str, np.ndarray] = {}

    def put(theirs: str, *ours: str) -> None:
        parts = [weights[f"{name}.weight"].numpy() for name in ours]
        arrays[f"{theirs}/weight"] = np.concatenate(parts)
        zeros = np.zeros(dims.state, np.float32)  # a key has no bias
        biases = [weights[f"{name}.bias"].numpy() if f"{name}.bias" in weights else zeros for name in ours]
        arrays[f"{theirs}/bias"] = np.concatenate(biases)

    def norm(theirs: str, ours: str) -> None:
        arrays[f"{theirs}/gamma"] = weights[f"{ours}.weight"].numpy()
        arrays[f"{theirs}/beta"] = weights[f"{ours}.bias"].numpy()

    for side, layers in (("encoder", dims.encoder), ("decoder", dims.decoder)):
        for i in range(len(layers)):
            ours, theirs = f"{side}.layers.{i}", f"{side}/layer_{i}"
            put(f"{theirs}/self_attention/linear_0", *(f"{ours}.attention.{p}" for p in ("query", "key", "value")))
            put(f"{theirs}/self_attention/linear_1", f"{ours}.attention.out")
            if side == "decoder":
                put(f"{theirs}/attention/linear_0", f"{ours}.cross.query")
                put(f"{theirs}/attention/linear_1", f"{ours}.cross.key", f"{ours}.cross.value")
                put(f"{theirs}/attention/linear_2", f"{ours}.cross.out")
            put(f"{theirs}/ffn/linear_0", f"{ours}.ffn.up")
            put(f"{theirs}/ffn/linear_1", f"{ours}.ffn.down")
            for mine, other in CTRANSLATE2_NORMS.items():
                if side == "decoder" or mine != "cross_norm":
                    norm(f"{theirs}/{other}", f"{ours}.{mine}")
        arrays[f"{side}/position_encodings/encodings"] = weights[f"{side}.positions"].numpy()
        norm(f"{side}/layer_norm", f"{side}.norm")
        arrays[f"{side}/num_heads"] = np.array(layers[0].heads, np.int16)
    for conv in ("conv1", "conv2"):
        arrays[f"encoder/{conv}/weight"] = _conv(weights[f"encoder.{conv}.weight"]).numpy()
        arrays[f"encoder/{conv}/bias"] = weights[f"encoder.{conv}.bias"].numpy()
    arrays["decoder/embeddings/weight"] = weights["decoder.embedding.weight"].numpy()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.bin").write_bytes(_model_bin(arrays))
    config = {
        "alignment_heads": checkpoint.alignment_heads,
        "suppress_ids": checkpoint.vocabulary.suppress,
        "suppress_ids_begin": checkpoint.vocabulary.suppress_first,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())


def _model_bin(arrays: dict[str, np.ndarray]) -> bytes:
    """CTranslate2's file: its version, the specification and its revision, then a record a tensor."""
    parts = [struct.pack("<I", 6), _text("WhisperSpec"), struct.pack("<II", 3, len(arrays))]
    for name, array in arrays.items():
        kind = {np.dtype(np.float32): 0, np.dtype(np.int16): 2}[array.dtype]
        parts += [_text(name), struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)]
        parts += [struct.pack("<BI", kind, array.nbytes), array.tobytes()]
    return b"".join(parts)


def _text(value: str) -> bytes:
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"
