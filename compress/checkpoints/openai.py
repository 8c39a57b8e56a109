"""OpenAI's .pt checkpoints, read and written."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import torch

from compress.checkpoints.teacher import teacher_folder
from compress.networks.checkpoint import Checkpoint, CheckpointError
from compress.networks.whisper.convert import assemble
from compress.networks.whisper.names import OPENAI, _ours, _theirs
from compress.networks.whisper.tokens import load_vocabulary


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
