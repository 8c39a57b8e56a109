"""A file of changes is a published checkpoint's network after a training, and is small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compress.checkpoints import base, changes
from compress.checkpoints.load import load_checkpoint
from compress.networks.checkpoint import Checkpoint, add_adapters, add_ctc
from compress.networks.weights import CheckpointError
from tests.support.moonshine import DIMS, VOCABULARY, random_network

NAME = "published"


@pytest.fixture(scope="module")
def published() -> Checkpoint:
    return Checkpoint(DIMS, random_network().state_dict(), VOCABULARY, ((0, 1),), ("random",))


@pytest.fixture(scope="module")
def trained(published: Checkpoint) -> Checkpoint:
    """With changes of rank 2 in one layer, another bias, a CTC head and adapters."""
    made = add_adapters(add_ctc(published, (0,), 1), 2)
    torch.manual_seed(1)
    weights = dict(made.weights)
    up = weights["encoder.layers.0.ffn.up.weight"]
    weights["encoder.layers.0.ffn.up.weight"] = up + 0.1 * torch.randn(64, 2) @ torch.randn(2, 32)
    weights["encoder.layers.0.ffn.up.bias"] = weights["encoder.layers.0.ffn.up.bias"] + 0.25
    weights["ctc.out.weight"] = torch.randn_like(weights["ctc.out.weight"])
    return replace(made, weights=weights, provenance=(*made.provenance, "trained"))


@pytest.fixture
def path(trained: Checkpoint, published: Checkpoint, tmp_path: Path) -> Path:
    file = base.beside(tmp_path / "tiny")
    changes.save(trained, published, NAME, file)
    return file


def read(path: Path, published: Checkpoint) -> Checkpoint:
    return changes.load(path, lambda name: published, (NAME,))


def test_the_network_comes_back(path: Path, trained: Checkpoint, published: Checkpoint) -> None:
    found = read(path, published)
    assert (found.dims, found.vocabulary, found.alignment_heads) == (trained.dims, VOCABULARY, ((0, 1),))
    assert found.provenance == (
        *trained.provenance,
        "changes of published in half precision, from tiny.base.safetensors",
    )
    assert set(found.weights) == set(trained.weights)
    for name, tensor in trained.weights.items():
        torch.testing.assert_close(found.weights[name], tensor, atol=2e-3, rtol=1e-3, msg=name)
    same = [name for name, tensor in published.weights.items() if torch.equal(found.weights[name], tensor)]
    assert len(same) == len(published.weights) - 2


def test_what_is_published_is_not_in_the_file(trained: Checkpoint, published: Checkpoint) -> None:
    tensors = changes.changes(trained.weights, published.weights)
    layer = "encoder.layers.0.ffn.up"
    assert tuple(tensors[f"{layer}.weight{changes.DOWN}"].shape) == (2, 32)
    assert tuple(tensors[f"{layer}.weight{changes.UP}"].shape) == (64, 2)
    stored = {name for name in tensors if not name.startswith(("ctc.", "adapters."))}
    assert stored == {
        f"{layer}.weight{changes.DOWN}",
        f"{layer}.weight{changes.UP}",
        f"{layer}.bias{changes.DIFFERENCE}",
    }


def test_saving_again_gives_the_same_bytes(path: Path, published: Checkpoint, tmp_path: Path) -> None:
    once, twice = tmp_path / "once.safetensors", tmp_path / "twice.safetensors"
    for file in (once, twice):
        changes.save(read(path, published), published, NAME, file)
    assert once.read_bytes() == twice.read_bytes()


def test_a_change_of_full_rank_is_a_difference() -> None:
    torch.manual_seed(0)
    assert changes.low_rank(torch.randn(64, 64, dtype=torch.float64)) is None


def test_other_published_weights_are_refused(path: Path, published: Checkpoint) -> None:
    other = replace(published, weights={name: tensor + 1 for name, tensor in published.weights.items()})
    with pytest.raises(CheckpointError, match="wanted the weights of published that it was made of"):
        read(path, other)


def test_a_file_asks_for_published_checkpoints_alone(path: Path) -> None:
    with pytest.raises(CheckpointError, match="that a package has, found of 'published'"):
        load_checkpoint(path)


def test_a_damaged_file_is_told(path: Path, published: Checkpoint) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum does not fit"):
        read(path, published)


def test_another_vocabulary_is_refused(trained: Checkpoint, published: Checkpoint, tmp_path: Path) -> None:
    other = replace(trained, vocabulary=replace(VOCABULARY, suppress=(1,)))
    with pytest.raises(CheckpointError, match="wanted its vocabulary"):
        changes.save(other, published, NAME, tmp_path / "x.safetensors")
