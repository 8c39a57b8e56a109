"""Checkpoints written as other programs write them, to test that they are read."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from compress.networks.checkpoint import Checkpoint
from compress.networks.weights import CheckpointError
from compress.networks.whisper.dims import whisper_dims
from compress.networks.whisper.names import HUGGING_FACE, OPENAI, is_convolution, their_name


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
