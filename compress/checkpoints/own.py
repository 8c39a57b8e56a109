"""Checkpoint folders of this program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from compress.checkpoints.believed import believed
from compress.checkpoints.reading import read_json, read_safetensors, regular, told
from compress.networks.checkpoint import Checkpoint
from compress.networks.family import family_named
from device_asr.bundle.vocabulary import read_tokens, write_tokens
from device_asr.errors import OutputError
from device_asr.files import write_whole


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
    write_tokens(folder / "vocabulary.txt", checkpoint.vocabulary.tokens)
    vocabulary = checkpoint.vocabulary
    values: dict[str, Any] = {
        "family": checkpoint.family,
        "dims": checkpoint.dims.to_json(),
        "alignment_heads": checkpoint.alignment_heads,
        "provenance": checkpoint.provenance,
        "special": checkpoint.family_of().special_ids(vocabulary),
        "suppress": vocabulary.suppress,
        "suppress_first": vocabulary.suppress_first,
    }
    write_whole(folder / "checkpoint.json", json.dumps(values, indent=1))


def load(folder: Path) -> Checkpoint:
    """The inverse of `save`.

    Raises:
        CheckpointError: a file is missing or broken.
    """
    wanted = "a checkpoint folder of device-asr-compress"
    values = read_json(folder / "checkpoint.json", f"the facts of {wanted}")
    _, tensors = read_safetensors(folder / "weights.safetensors", f"the weights of {wanted}")
    with told(folder, wanted):
        family = family_named(values.get("family", "whisper"))  # earlier folders do not name it
        vocabulary = family.vocabulary(
            read_tokens(regular(folder / "vocabulary.txt")),
            values["special"],
            tuple(values["suppress"]),
            tuple(values["suppress_first"]),
        )
        return believed(
            Checkpoint(
                family.dims(values["dims"]),
                {name: tensor.to(torch.float32) for name, tensor in tensors.items()},
                vocabulary,
                tuple((int(a), int(b)) for a, b in values["alignment_heads"]),
                tuple(values["provenance"]),
            )
        )
