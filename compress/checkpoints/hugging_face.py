"""Hugging Face folders."""

from __future__ import annotations

from pathlib import Path

from compress.checkpoints.believed import believed
from compress.checkpoints.reading import read_json, read_safetensors, told
from compress.networks.checkpoint import Checkpoint, from_foreign
from compress.networks.family import Foreign


def load_hugging_face(folder: Path) -> Checkpoint:
    """A checkpoint from config.json, model.safetensors and tokenizer.json; config.json names its family.

    Raises:
        CheckpointError: a file is missing or broken, or tensors do not fit.
    """
    config = read_json(folder / "config.json", "the settings of a Hugging Face model")
    generation = folder / "generation_config.json"
    extra = read_json(generation, "the settings of generation") if generation.exists() else {}
    _, tensors = read_safetensors(folder / "model.safetensors", "the weights of a Hugging Face model")
    with told(folder, "a Hugging Face folder with config.json, model.safetensors and tokenizer.json that fit"):
        foreign = Foreign("hugging_face", tensors, {**config, "generation": extra}, folder, folder)
        family = str(config.get("model_type", "whisper"))
        return believed(from_foreign(family, foreign, f"Hugging Face folder {folder.name}"))
