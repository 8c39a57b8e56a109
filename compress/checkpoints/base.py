"""The base of a bundle: its network in half precision, one file from which other devices are recompressed.

The token embedding, half of the weights, is stored as it ships where that is 4 bits: 10.9 instead of
38.6 MB of the shipped model's. All else is float16; tensors that the family computes are left out.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from compress.checkpoints.believed import believed
from compress.checkpoints.reading import read_safetensors, told
from compress.networks.checkpoint import Checkpoint
from compress.networks.dims import Dims
from compress.networks.embedding import NAMES, stored_form
from compress.networks.family import Family, family_named
from compress.networks.weights import COMPUTED_ATOL, CheckpointError, check_shapes, shapes_of
from compress.quantize.apply import quantize_linears
from compress.quantize.grid import LOWEST, on_grid
from compress.quantize.plan import Width
from device_asr.bounded import parse_json
from device_asr.errors import OutputError

SUFFIX = ".safetensors"
FORMAT, KEY = 1, "device-asr-base"  # one entry of metadata, as more come in any order: [sha256, facts]


def beside(bundle: Path) -> Path:
    """Where the base of a bundle lies."""
    return bundle.with_name(f"{bundle.name}.base{SUFFIX}")


# -- 4 bits ----------------------------------------------------------------------------------------


def pack(weight: Tensor, width: Width) -> list[Tensor]:
    """The table (rows, columns) float32 in `width`, bit for bit as the exporter stores it."""
    logits = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    logits.weight = nn.Parameter(weight.detach().to(torch.float32), requires_grad=False)
    quantized = quantize_linears(nn.Sequential(logits), width.bits, width.group).get_submodule("0")
    assert isinstance(quantized, nn.Linear)  # its weights are replaced, not itself
    return stored_form(quantized)


def unpack(table: Tensor, scales: Tensor) -> Tensor:
    """(rows, columns) float32 that `pack` makes the same table of again, see `grid.on_grid`."""
    low, high = (table & 15).to(torch.int16) + LOWEST, (table >> 4).to(torch.int16) + LOWEST
    codes = torch.stack([low, high], dim=2).reshape(table.shape[0], scales.shape[1], -1)
    return on_grid(codes, scales.view(torch.bfloat16))


# -- the file --------------------------------------------------------------------------------------


def save(checkpoint: Checkpoint, width: Width, path: Path) -> None:
    """Writes the base of a checkpoint whose token embedding ships in `width`; the file appears when it is whole.

    Raises:
        CheckpointError: a weight is beyond float16. OutputError: the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    family = checkpoint.family_of()
    computed = family.computed(checkpoint.dims)
    for name, tensor in checkpoint.weights.items():
        if name == f"{family.embedding}.weight" and width.bits == 4:
            tensors |= dict(zip(_table(family), pack(tensor, width), strict=True))
        elif name not in computed or not torch.allclose(tensor, computed[name], atol=COMPUTED_ATOL):
            tensors[name] = tensor.detach().to(torch.float16).contiguous()
            if not torch.isfinite(tensors[name]).all():
                raise CheckpointError(
                    f"Tensor {name}: wanted values that float16 holds (up to 65504), found "
                    f"{float(tensor.abs().max()):g}; a base cannot be made of it."
                )
    vocabulary = checkpoint.vocabulary
    facts = {
        "format": FORMAT,
        "family": checkpoint.family,
        "dims": checkpoint.dims.to_json(),
        "alignment_heads": checkpoint.alignment_heads,
        "provenance": checkpoint.provenance,
        "embedding": {"bits": width.bits, "group": width.group},
        "vocabulary": {
            "pieces": [base64.b64encode(piece).decode() for piece in vocabulary.tokens],
            "special": family.special_ids(vocabulary),
            "suppress": vocabulary.suppress,
            "suppress_first": vocabulary.suppress_first,
        },
    }
    write(tensors, KEY, facts, path)


def write(tensors: Mapping[str, Tensor], key: str, facts: Mapping[str, Any], path: Path) -> None:
    """Writes tensors with facts and their checksum in the metadata; the file appears when it is whole.

    Raises:
        OutputError: it cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(dict(tensors), partial, {key: json.dumps([digest(facts, tensors), facts])})
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        if partial.is_file():
            partial.unlink()
        raise OutputError(f"{path} cannot be written ({error}); make room and run again.") from None


def load(path: Path) -> Checkpoint:
    """The checkpoint of a base, float32.

    Raises:
        CheckpointError: not such a file, or a damaged one.
    """
    stored, tensors = read_safetensors(path, "the base of a bundle")
    if KEY not in stored:
        raise CheckpointError(
            f"{path}: wanted the base of a bundle, found other tensors, with no metadata "
            f"{KEY!r}; of a Hugging Face model give the folder."
        )
    with told(path, "the facts of a base"):
        return _checkpoint(facts_of(stored[KEY], tensors, path, FORMAT, "a base"), tensors, path)


def facts_of(text: str, tensors: Mapping[str, Tensor], path: Path, version: int, what: str) -> dict[str, Any]:
    """The facts that `write` put into the metadata, given the entry's text.

    Args:
        version: the format that is read. what: the kind of file, for a sentence.

    Raises:
        CheckpointError: the checksum does not fit, or the format is another one. KeyError, TypeError, ValueError: the
            text holds something else.
    """
    checksum, facts = parse_json(text)
    if checksum != digest(facts, tensors):
        raise CheckpointError(f"{path} is damaged: its checksum does not fit; copy or build it again.")
    if facts["format"] != version:
        raise CheckpointError(f"{path}: wanted format {version} of {what}, found {facts['format']}; update device-asr.")
    found: dict[str, Any] = facts
    return found


def _checkpoint(facts: Mapping[str, Any], tensors: dict[str, Tensor], path: Path) -> Checkpoint:
    family = family_named(facts.get("family", "whisper"))  # bases of earlier versions do not name it
    dims, words, table = family.dims(facts["dims"]), facts["vocabulary"], _table(family)
    if table[0] in tensors:
        tensors[f"{family.embedding}.weight"] = unpack(*(tensors.pop(name) for name in table))
    weights = {name: tensor.to(torch.float32) for name, tensor in tensors.items()}
    _check_stored(family, dims, weights)
    weights = {**family.computed(dims), **weights}
    vocabulary = family.vocabulary(
        tuple(base64.b64decode(piece) for piece in words["pieces"]),
        words["special"],
        tuple(words["suppress"]),
        tuple(words["suppress_first"]),
    )
    return believed(
        Checkpoint(
            dims,
            weights,
            vocabulary,
            tuple((int(a), int(b)) for a, b in facts["alignment_heads"]),
            (*facts["provenance"], f"half precision, from {path.name}"),
        )
    )


def _check_stored(family: Family, dims: Dims, weights: Mapping[str, Tensor]) -> None:
    """Raises CheckpointError where stored tensors do not fit the dims, before others of these sizes are computed."""
    with torch.device("meta"):
        wanted, computed = shapes_of(family.network(dims)), family.computed(dims)
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    check_shapes(wanted, {**{name: wanted[name] for name in computed}, **found})


def _table(family: Family) -> list[str]:
    """The names of the parts of a token embedding of 4 bits in the file."""
    return [f"{family.embedding}.{name}" for name in NAMES]


def digest(facts: Any, tensors: Mapping[str, Tensor]) -> str:
    """sha256 of the facts as JSON and of every tensor by name."""
    found = hashlib.sha256(json.dumps(facts).encode())
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].numpy().tobytes())
    return found.hexdigest()
