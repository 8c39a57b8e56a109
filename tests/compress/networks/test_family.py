"""Families by name, and checkpoints that name theirs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compress.checkpoints import own
from compress.networks.checkpoint import Checkpoint, add_ctc
from compress.networks.dims import LayerDims
from compress.networks.family import family_named
from compress.networks.weights import CheckpointError
from compress.networks.whisper.dims import WhisperDims
from device_asr.bundle.vocabulary import Vocabulary

DIMS = WhisperDims(
    n_mels=8,
    state=16,
    head_dim=8,
    audio_ctx=20,
    text_ctx=12,
    vocab=260,
    encoder=(LayerDims(2, 16),),
    decoder=(LayerDims(2, 16, 2),),
)
VOCABULARY = Vocabulary(tuple(bytes([b]) for b in range(256)), (257, 259), 256, 258)


@pytest.fixture
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    return Checkpoint(DIMS, family_named("whisper").network(DIMS).state_dict(), VOCABULARY, ((0, 1),), ("random",))


def test_an_unknown_family_is_told() -> None:
    with pytest.raises(CheckpointError, match="Wanted a network of whisper or moonshine, found the family 'parrot'"):
        family_named("parrot")


def test_a_family_keeps_the_dims_and_the_names(checkpoint: Checkpoint) -> None:
    family = checkpoint.family_of()
    assert checkpoint.family == family.name == "whisper"
    assert family.dims(json.loads(json.dumps(DIMS.to_json()))) == DIMS
    assert f"{family.embedding}.weight" in checkpoint.weights
    assert set(family.axes(DIMS)) == set(checkpoint.weights)
    assert set(checkpoint.weights) - set(checkpoint.learned) == set(family.computed(DIMS))
    assert family.axis("decoder", 0, "cross") in {a.name for axes in family.axes(DIMS).values() for a in axes if a}


def test_a_folder_that_names_no_family_is_whisper(checkpoint: Checkpoint, tmp_path: Path) -> None:
    own.save(checkpoint, tmp_path)
    path = tmp_path / "checkpoint.json"
    values = json.loads(path.read_text())
    assert values.pop("family") == "whisper"
    path.write_text(json.dumps(values))
    assert own.load(tmp_path).key() == checkpoint.key()


def test_a_key_tells_sizes_tokens_and_weights_apart(checkpoint: Checkpoint) -> None:
    """Not what was done to a checkpoint: its text of any audio is the same."""
    reversed_tokens = replace(VOCABULARY, tokens=VOCABULARY.tokens[::-1])
    others = [
        add_ctc(checkpoint),
        replace(checkpoint, dims=replace(DIMS, text_ctx=13)),
        replace(checkpoint, vocabulary=reversed_tokens),
        replace(checkpoint, vocabulary=replace(VOCABULARY, suppress=(3,))),
        replace(checkpoint, weights={name: tensor + 1 for name, tensor in checkpoint.weights.items()}),
    ]
    assert len({checkpoint.key(), *(other.key() for other in others)}) == 6
    assert replace(checkpoint, provenance=()).key() == checkpoint.key()
