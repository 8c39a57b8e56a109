"""What a network has learned, as changes of a published checkpoint: one small file beside weights that others host.

A tensor that is the published one is left out. A matrix whose change is of low rank, see `compress.distill.changes`,
is stored as two factors, other changed tensors as their difference, and new ones (adapters, a CTC head) whole; all in
float16. Moonshine base with changes of rank 16, adapters and a CTC head is 8 MB instead of 123.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from pathlib import Path

import torch
from torch import Tensor

from compress.checkpoints.base import facts_of, write
from compress.checkpoints.believed import believed
from compress.checkpoints.reading import read_safetensors, told
from compress.networks.checkpoint import Checkpoint
from compress.networks.family import family_named
from compress.networks.weights import CheckpointError

FORMAT, KEY = 1, "device-asr-changes"
DOWN, UP, DIFFERENCE = ".change.down", ".change.up", ".change"  # behind the name of the tensor that is changed
LARGEST_RANK = 64
NEGLIGIBLE = 1e-5  # of the largest singular value: rounding of float32, not a part of the change


def save(checkpoint: Checkpoint, published: Checkpoint, name: str, path: Path) -> None:
    """Writes what makes `checkpoint` of a published one; the file appears when it is whole.

    Args:
        name: of the published checkpoint, as `load_checkpoint` takes it.

    Raises:
        CheckpointError: the vocabulary is another one, or a value is beyond float16.
        OutputError: the file cannot be written.
    """
    if checkpoint.vocabulary != published.vocabulary:
        raise CheckpointError(
            f"Changes of {name}: wanted its vocabulary, found another one; leave the stage vocabulary to the recipe "
            "that starts from the changes."
        )
    tensors = changes(checkpoint.weights, published.weights)
    for key, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"Tensor {key}: wanted values that float16 holds (up to 65504), found larger ones.")
    facts = {
        "format": FORMAT,
        "of": name,
        "key": published.key(),
        "family": checkpoint.family,
        "dims": checkpoint.dims.to_json(),
        "alignment_heads": checkpoint.alignment_heads,
        "provenance": checkpoint.provenance,
    }
    write(tensors, KEY, facts, path)


def changes(weights: Mapping[str, Tensor], published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file of changes, float16, by name."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        before = published.get(name)
        if before is None or before.shape != tensor.shape:
            tensors[name] = tensor
        elif not torch.equal(before, tensor):
            change = tensor.double() - before.double()
            factors = low_rank(change) if change.dim() == 2 else None
            if factors is None:
                tensors[name + DIFFERENCE] = change
            else:
                tensors[name + DOWN], tensors[name + UP] = factors
    return {name: tensor.detach().to(torch.float16).contiguous() for name, tensor in tensors.items()}


def low_rank(change: Tensor) -> tuple[Tensor, Tensor] | None:
    """The factors (rank, columns) and (rows, rank) of a matrix; None where they are not smaller than it."""
    rows, columns = change.shape
    left, values, right = torch.linalg.svd(change, full_matrices=False)
    rank = int((values > values[0] * NEGLIGIBLE).sum())
    if rank > LARGEST_RANK or rank * (rows + columns) >= rows * columns:
        return None
    root = values[:rank].sqrt()  # both factors of like size: float16 holds them equally well
    return root[:, None] * right[:rank], left[:, :rank] * root


def restored(tensors: Mapping[str, Tensor], published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a network from a file's tensors, float32; tensors of the published one that it replaces are gone.

    Raises:
        KeyError: a change of a tensor that is not published, or half of one.
    """
    weights = dict(published)
    for name, tensor in tensors.items():
        if name.endswith(UP):
            changed = name.removesuffix(UP)
            weights[changed] = published[changed] + tensor.float() @ tensors[changed + DOWN].float()
        elif name.endswith(DOWN):
            continue
        elif name.endswith(DIFFERENCE):
            changed = name.removesuffix(DIFFERENCE)
            weights[changed] = published[changed] + tensor.float()
        else:
            weights[name] = tensor.float()
    return weights


def is_one(path: Path) -> bool:
    """Whether a safetensors file is one of changes; False too where it cannot be read."""
    try:
        return KEY in read_safetensors(path, "changes of a checkpoint", tensors=False)[0]
    except CheckpointError:
        return False


def load(path: Path, published: Callable[[str], Checkpoint], known: Container[str]) -> Checkpoint:
    """The checkpoint of a file of changes, float32.

    Args:
        published: reads a published checkpoint, given its name. known: names of such; a file may ask for no other.

    Raises:
        CheckpointError: a damaged file, or the published checkpoint is missing or another one.
    """
    stored, tensors = read_safetensors(path, "changes of a checkpoint")
    with told(path, "changes of a checkpoint"):
        facts = facts_of(stored[KEY], tensors, path, FORMAT, "changes")
        name = facts["of"]
        if name not in known:
            raise CheckpointError(f"{path}: wanted changes of a checkpoint that a package has, found of {name!r}.")
        before = published(name)
        if before.key() != facts["key"]:
            raise CheckpointError(
                f"{path}: wanted the weights of {name} that it was made of, found others; install the version of their "
                "package that pyproject.toml names."
            )
        return believed(
            Checkpoint(
                family_named(facts["family"]).dims(facts["dims"]),
                restored(tensors, before.weights),
                before.vocabulary,
                tuple((int(a), int(b)) for a, b in facts["alignment_heads"]),
                (*facts["provenance"], f"changes of {name} in half precision, from {path.name}"),
            )
        )
