"""Hugging Face folders, read and written."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from compress.networks.checkpoint import Checkpoint, CheckpointError
from compress.networks.whisper.convert import assemble
from compress.networks.whisper.names import HUGGING_FACE, _ours, _theirs
from compress.networks.whisper.tokens import load_vocabulary


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
