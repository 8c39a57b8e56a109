"""Hugging Face folders."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from compress.networks.checkpoint import Checkpoint, from_foreign
from compress.networks.family import Foreign
from compress.networks.weights import CheckpointError


def load_hugging_face(folder: Path) -> Checkpoint:
    """A checkpoint from config.json, model.safetensors and tokenizer.json; config.json names its family.

    Raises:
        CheckpointError: a file is missing or broken, or tensors do not fit.
    """
    try:
        config = json.loads((folder / "config.json").read_text())
        found = load_file(folder / "model.safetensors")
        generation = folder / "generation_config.json"
        extra = json.loads(generation.read_text()) if generation.is_file() else {}
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder}: wanted config.json and model.safetensors, found something broken ({error})."
        ) from None
    foreign = Foreign("hugging_face", found, {**config, "generation": extra}, folder, folder)
    return from_foreign(str(config.get("model_type", "whisper")), foreign, f"Hugging Face folder {folder.name}")
