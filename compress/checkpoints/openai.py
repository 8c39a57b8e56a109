"""OpenAI's .pt checkpoints."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import torch

from compress.checkpoints.teacher import teacher_folder
from compress.networks.checkpoint import Checkpoint, from_foreign
from compress.networks.family import Foreign
from compress.networks.weights import CheckpointError


def load_openai(path: Path) -> Checkpoint:
    """Whisper from an OpenAI .pt ({dims, model_state_dict}); it has no tokenizer, the teacher's is taken.

    Raises:
        CheckpointError: not such a file, or tensors that do not fit.
    """
    wanted = ("n_audio_layer", "n_text_layer", "n_audio_head", "n_text_head")
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        found = stored["model_state_dict"]
        dims = {name: int(stored["dims"][name]) for name in wanted}
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: wanted an OpenAI .pt with dims and model_state_dict, found something else ({error})."
        ) from None
    folder = teacher_folder()
    config = json.loads((folder / "config.json").read_text())
    foreign = Foreign("openai", found, {**config, "dims": dims}, folder, path)
    return from_foreign("whisper", foreign, f"OpenAI checkpoint {path.name}")
