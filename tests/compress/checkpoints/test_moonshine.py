"""Moonshine from ONNX Runtime's format and from Hugging Face's: a random one is written out and read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compress.checkpoints import base, own
from compress.checkpoints.load import load_checkpoint
from compress.checkpoints.onnxruntime import ENCODER, TOKENIZER, read_tokenizer, read_weights
from compress.networks.checkpoint import Checkpoint
from compress.networks.dims import LayerDims
from compress.networks.moonshine.network import Moonshine
from compress.networks.weights import CheckpointError
from compress.quantize.plan import Width
from tests.support import moonshine_files
from tests.support.moonshine import DIMS, VOCABULARY, random_checkpoint

# ONNX Runtime's files have no settings: 8 heads, 32 turned dimensions of each
BASE = replace(DIMS, state=256, head_dim=32, rotary=32, encoder=(LayerDims(8, 16),) * 2, decoder=(LayerDims(8, 16, 8),))


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    weights = Moonshine(BASE).state_dict()
    weights["encoder.conv1.weight"][:, -1] = 0  # a convolution of 127 samples
    return Checkpoint(BASE, weights, VOCABULARY, ())


def assert_same(found: Checkpoint, wanted: Checkpoint) -> None:
    assert found.dims == wanted.dims and found.vocabulary == wanted.vocabulary
    assert found.weights.keys() == wanted.weights.keys()
    assert all(torch.equal(tensor, found.weights[name]) for name, tensor in wanted.weights.items())


def test_a_folder_of_onnxruntime_is_read_back(checkpoint: Checkpoint, tmp_path: Path) -> None:
    moonshine_files.save_onnxruntime(checkpoint, tmp_path)
    assert_same(load_checkpoint(tmp_path), checkpoint)


def test_a_folder_of_hugging_face_is_read_back(checkpoint: Checkpoint, tmp_path: Path) -> None:
    moonshine_files.save_hugging_face(checkpoint, tmp_path)
    assert_same(load_checkpoint(tmp_path), checkpoint)


def test_eight_bits_are_a_scale_and_an_offset(checkpoint: Checkpoint, tmp_path: Path) -> None:
    moonshine_files.save_onnxruntime(checkpoint, tmp_path, "layers.0.mlp.fc1.weight")
    name = "encoder.layers.0.ffn.up.weight"
    found, wanted = load_checkpoint(tmp_path).weights[name], checkpoint.weights[name]
    step = float(wanted.abs().max()) / 100
    assert torch.allclose(found - 0.25, wanted, atol=0.51 * step)
    assert len((found - 0.25).div(step).round().unique()) <= 201


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: data[: len(data) // 2], "is damaged or cut short"),
        (lambda data: b"PK" + data, "wanted a model of ONNX Runtime"),
        (lambda data: data[:8] + b"\xff" * 4000 + data[4008:], "is damaged or cut short|tensor encoder"),
    ],
)
def test_a_damaged_file_is_one_sentence(
    checkpoint: Checkpoint, tmp_path: Path, change: Callable[[bytes], bytes], told: str
) -> None:
    moonshine_files.save_onnxruntime(checkpoint, tmp_path)
    path = tmp_path / ENCODER
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(CheckpointError, match=told):
        load_checkpoint(tmp_path)


def test_a_shape_that_its_bytes_do_not_fill_is_told(tmp_path: Path) -> None:
    path = tmp_path / ENCODER
    data = moonshine_files.ort_model({"layers.0.mlp.fc1.weight": torch.zeros(3, 5)})
    at = data.index((5).to_bytes(8, "little") + (3).to_bytes(8, "little"))
    path.write_bytes(data[:at] + (1 << 40).to_bytes(8, "little") + data[at + 8 :])
    with pytest.raises(CheckpointError, match=r"wanted 13194139533312 bytes .* found 60"):
        read_weights(path)


def test_what_is_missing_is_named(checkpoint: Checkpoint, tmp_path: Path) -> None:
    moonshine_files.save_onnxruntime(checkpoint, tmp_path)
    (tmp_path / TOKENIZER).unlink()
    with pytest.raises(CheckpointError, match=r"wanted encoder_model.ort, .* and tokenizer.bin in one folder"):
        load_checkpoint(tmp_path)
    moonshine_files.save_hugging_face(checkpoint, tmp_path / "hf")
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    for key, value, told in (
        ("partial_rotary_factor", None, "wanted settings of a Moonshine model"),
        ("encoder_num_attention_heads", 7, "wanted heads that divide a state of 256"),
        ("rope_theta", 500_000.0, "wanted rope_theta of 10000.0, found 500000.0"),
        ("rope_parameters", {"rope_theta": 5.0}, "wanted rope_theta of 10000.0, found 5.0"),
        ("decoder_hidden_act", "gelu", "wanted decoder_hidden_act of silu, found 'gelu'"),
        ("encoder_num_hidden_layers", 3, "encoder.layers.2.*wanted it for"),
        ("eos_token_id", 900, "the tokenizer has ids from 1 to 900"),
    ):
        (tmp_path / "hf" / "config.json").write_text(json.dumps({**config, key: value}))
        with pytest.raises(CheckpointError, match=told):
            load_checkpoint(tmp_path / "hf")


def test_long_pieces_have_two_bytes_of_length(tmp_path: Path) -> None:
    path = tmp_path / TOKENIZER
    path.write_bytes(b"\x00\x02ab\x81\x01" + b"x" * 129)
    assert read_tokenizer(path) == (b"", b"ab", b"x" * 129)
    path.write_bytes(b"\x05ab")
    with pytest.raises(CheckpointError, match="found piece 0 of 5 bytes"):
        read_tokenizer(path)


def test_our_own_formats_keep_it(tmp_path: Path) -> None:
    """With a CTC head and adapters; a base in half precision."""
    whole = random_checkpoint()
    own.save(whole, tmp_path / "own")
    assert_same(own.load(tmp_path / "own"), whole)
    base.save(whole, Width(8), tmp_path / "x.base.safetensors")
    again = base.load(tmp_path / "x.base.safetensors")
    assert again.dims == whole.dims and again.vocabulary == whole.vocabulary
    assert all(torch.allclose(t, again.weights[name], atol=5e-3) for name, t in whole.weights.items())
