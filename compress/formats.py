"""Checkpoint formats besides CTranslate2: ours, Hugging Face's and OpenAI's, read and written."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from compress.checkpoints import (
    Checkpoint,
    CheckpointError,
    assemble,
    conv_to_linear,
    linear_to_conv,
    load_vocabulary,
    teacher_folder,
)
from compress.whisper import Dims
from device_asr.errors import OutputError
from device_asr.tokenizer import Vocabulary, read_pieces, write_pieces
from device_asr.writers.whole import write_whole

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


def load_openai(path: Path) -> Checkpoint:
    """Whisper from an OpenAI .pt ({dims, model_state_dict}); it has no tokenizer, the teacher's is taken.

    Raises:
        CheckpointError: not such a file, or tensors that do not fit.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        dims, found = stored["dims"], stored["model_state_dict"]
        layers = {"encoder": int(dims["n_audio_layer"]), "decoder": int(dims["n_text_layer"])}
        heads = {"encoder": int(dims["n_audio_head"]), "decoder": int(dims["n_text_head"])}
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: wanted an OpenAI .pt with dims and model_state_dict, found something else ({error})."
        ) from None
    folder = teacher_folder()
    config = json.loads((folder / "config.json").read_text())
    return assemble(
        _ours(found, OPENAI, layers, path),
        heads,
        load_vocabulary(folder, config),
        config["alignment_heads"],
        f"OpenAI checkpoint {path.name}",
    )


def save_openai(checkpoint: Checkpoint, path: Path) -> None:
    """Writes the checkpoint as OpenAI's .pt; its layers must all be of one size."""
    dims, encoder, decoder = checkpoint.dims, checkpoint.dims.encoder, checkpoint.dims.decoder
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
    torch.save({"dims": values, "model_state_dict": _theirs(checkpoint, OPENAI)}, path)


# -- Hugging Face ----------------------------------------------------------------------------------


def load_hugging_face(folder: Path) -> Checkpoint:
    """Whisper from config.json, model.safetensors and tokenizer.json.

    Raises:
        CheckpointError: a file is missing or broken, or tensors do not fit.
    """
    try:
        config = json.loads((folder / "config.json").read_text())
        found = load_file(folder / "model.safetensors")
        layers = {side: int(config[f"{side}_layers"]) for side in ("encoder", "decoder")}
        heads = {side: int(config[f"{side}_attention_heads"]) for side in ("encoder", "decoder")}
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder}: wanted config.json and model.safetensors, found something broken ({error})."
        ) from None
    except KeyError as error:
        raise CheckpointError(f"{folder}/config.json: wanted {error} of a Whisper model, found none.") from None
    found = {name.removeprefix("model."): tensor for name, tensor in found.items()}
    generation = folder / "generation_config.json"
    extra = json.loads(generation.read_text()) if generation.is_file() else {}
    settings = {
        "suppress_ids": extra.get("suppress_tokens") or config.get("suppress_tokens") or (),
        "suppress_ids_begin": extra.get("begin_suppress_tokens") or config.get("begin_suppress_tokens") or (),
    }
    return assemble(
        _ours(found, HUGGING_FACE, layers, folder),
        heads,
        load_vocabulary(folder, settings),
        extra.get("alignment_heads") or (),
        f"Hugging Face folder {folder.name}",
    )


def save_hugging_face(checkpoint: Checkpoint, folder: Path, tokenizer: Path) -> None:
    """Writes config.json, generation_config.json, model.safetensors; `tokenizer` is copied beside them."""
    dims, encoder, decoder = checkpoint.dims, checkpoint.dims.encoder, checkpoint.dims.decoder
    tensors = {f"model.{name}": tensor for name, tensor in _theirs(checkpoint, HUGGING_FACE).items()}
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


# -- ours ------------------------------------------------------------------------------------------


def save(checkpoint: Checkpoint, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Writes weights.safetensors, vocabulary.txt and, last, checkpoint.json (its presence means complete).

    Raises:
        OutputError: the weights cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "weights.safetensors"
    try:
        save_file({k: v.to(dtype).contiguous() for k, v in checkpoint.weights.items()}, weights)
    except SafetensorError as error:
        weights.unlink(missing_ok=True)
        raise OutputError(f"{weights} cannot be written ({error}); make room and run again.") from None
    write_pieces(folder / "vocabulary.txt", checkpoint.vocabulary.pieces)
    vocabulary = checkpoint.vocabulary
    values: dict[str, Any] = {
        "dims": checkpoint.dims.to_json(),
        "alignment_heads": checkpoint.alignment_heads,
        "provenance": checkpoint.provenance,
        "special": dict(vocabulary.special),
        "suppress": vocabulary.suppress,
        "suppress_first": vocabulary.suppress_first,
    }
    write_whole(folder / "checkpoint.json", json.dumps(values, indent=1))


def load_ours(folder: Path) -> Checkpoint:
    """The inverse of `save`.

    Raises:
        CheckpointError: a file is missing or broken.
    """
    try:
        values = json.loads((folder / "checkpoint.json").read_text())
        weights = {k: v.to(torch.float32) for k, v in load_file(folder / "weights.safetensors").items()}
        vocabulary = Vocabulary(
            read_pieces(folder / "vocabulary.txt"),
            values["special"],
            tuple(values["suppress"]),
            tuple(values["suppress_first"]),
        )
        return Checkpoint(
            Dims.from_json(values["dims"]),
            weights,
            vocabulary,
            tuple((int(a), int(b)) for a, b in values["alignment_heads"]),
            tuple(values["provenance"]),
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder}: wanted a checkpoint folder of device-asr-compress, found something broken "
            f"({error}); remove it and build again."
        ) from None
