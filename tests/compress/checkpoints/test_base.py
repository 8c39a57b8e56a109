"""A bundle's base: its network in half precision, as another checkpoint to begin with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from compress.checkpoints import base
from compress.checkpoints.load import load_checkpoint
from compress.networks.checkpoint import Checkpoint, add_ctc
from compress.networks.dims import LayerDims
from compress.networks.embedding import lookup
from compress.networks.weights import CheckpointError
from compress.networks.whisper.dims import WhisperDims
from compress.networks.whisper.network import Whisper
from compress.prune.structured import NarrowSettings, narrow
from compress.quantize.plan import QuantizationPlan, Width
from compress.recipe.cache import origin
from compress.recipe.card import write_card
from compress.recipe.recipe import Recipe
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.errors import OutputError, UsageError

SHIPPED = Width(4, 32)
DIMS = WhisperDims(
    n_mels=8,
    state=64,
    head_dim=16,
    audio_ctx=100,
    text_ctx=24,
    vocab=260,
    encoder=(LayerDims(2, 64),),
    decoder=(LayerDims(2, 32, 3),),
)
VOCABULARY = Vocabulary(
    tuple(bytes([b]) for b in range(256)),
    (257, 259),
    256,
    258,
    (3, 256),
    (5,),
)
EMBEDDING = "decoder.embedding.weight"


@pytest.fixture(scope="module")
def network() -> Checkpoint:
    torch.manual_seed(0)
    return add_ctc(Checkpoint(DIMS, Whisper(DIMS).state_dict(), VOCABULARY, ((0, 2), (0, 1)), ("random",)))


@pytest.fixture
def file(network: Checkpoint, tmp_path: Path) -> Path:
    path = base.beside(tmp_path / "tiny")
    base.save(network, SHIPPED, path)
    return path


def test_a_base_is_its_network_in_half_precision(network: Checkpoint, file: Path) -> None:
    found = load_checkpoint(file)
    assert file.name == "tiny.base.safetensors" and not list(file.parent.glob("*.partial"))
    assert (found.dims, found.vocabulary, found.alignment_heads) == (network.dims, VOCABULARY, ((0, 2), (0, 1)))
    assert found.provenance == (*network.provenance, "half precision, from tiny.base.safetensors")
    assert set(found.weights) == set(network.weights) and found.network().ctc is not None
    for name, tensor in network.weights.items():
        if name not in (EMBEDDING, "encoder.positions"):
            assert torch.equal(found.weights[name], tensor.half().float()), name
    assert torch.equal(found.weights["encoder.positions"], network.weights["encoder.positions"])


def test_the_embedding_lies_in_it_as_it_ships(network: Checkpoint, file: Path) -> None:
    shipped, found = base.pack(network.weights[EMBEDDING], SHIPPED), load_checkpoint(file).weights[EMBEDDING]
    assert [part.dtype for part in shipped] == [torch.uint8, torch.int16]
    assert all(part.numpy().tobytes() in file.read_bytes() for part in shipped)
    steps = shipped[1].view(torch.bfloat16).float().repeat_interleave(32, 1)
    device = lookup(torch.arange(DIMS.vocab), shipped)
    apart = ((found - device) / steps).abs()
    assert apart.max() <= 0.51 and (apart > 1e-3).float().mean() < 2 / 32  # half a step, of the largest of a group
    assert ((found - network.weights[EMBEDDING]) / steps).abs().max() <= 1.01


def test_what_was_unpacked_is_rounded_to_the_same_numbers(network: Checkpoint, file: Path) -> None:
    again = base.pack(load_checkpoint(file).weights[EMBEDDING], SHIPPED)
    assert all(map(torch.equal, again, base.pack(network.weights[EMBEDDING], SHIPPED)))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-6, 100), group=st.sampled_from([32, 64, None]))
def test_any_table_is(seed: int, scale: float, group: int | None) -> None:
    random = torch.Generator().manual_seed(seed)
    weight = scale * torch.randn(40, 64, generator=random)
    weight[0] = 0  # a row of nothing
    weight[1] = weight[1].abs() * -1
    weight[2] = weight[2].abs()
    weight[3] = scale  # of one value
    weight[4] = -scale
    table = base.pack(weight, Width(4, group))
    assert all(map(torch.equal, base.pack(base.unpack(*table), Width(4, group)), table))


@pytest.mark.parametrize("width", [Width(8), Width(32)])
def test_a_wider_embedding_is_half_precision_too(network: Checkpoint, tmp_path: Path, width: Width) -> None:
    base.save(network, width, tmp_path / "x.safetensors")
    found = load_checkpoint(tmp_path / "x.safetensors").weights[EMBEDDING]
    assert torch.equal(found, network.weights[EMBEDDING].half().float())


def test_positions_that_are_no_sines_are_kept(network: Checkpoint, tmp_path: Path) -> None:
    narrower, _ = narrow(network, NarrowSettings(state=32))
    base.save(narrower, SHIPPED, tmp_path / "x.safetensors")
    found = load_checkpoint(tmp_path / "x.safetensors")
    assert found.dims == narrower.dims
    positions = narrower.weights["encoder.positions"]
    assert torch.equal(found.weights["encoder.positions"], positions.half().float())


def test_the_same_network_makes_the_same_bytes(network: Checkpoint, file: Path, tmp_path: Path) -> None:
    base.save(network, SHIPPED, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == file.read_bytes()


# -- bad files -------------------------------------------------------------------------------------


def test_a_damaged_file_is_told(file: Path) -> None:
    whole = file.read_bytes()
    for at in (whole.index(b"pieces") + 40, len(whole) // 2, len(whole) - 1):  # of a piece, of a tensor, the last
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(CheckpointError, match="damaged"):
            load_checkpoint(file)


@pytest.mark.parametrize("size", [0, 7, 500, -1])
def test_a_file_that_was_cut_is_told(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(CheckpointError, match=r"tiny\.base\.safetensors: wanted the base .* cut short"):
        load_checkpoint(file)


def test_other_tensors_are_told(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="of a Hugging Face model give the folder"):
        load_checkpoint(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="found none of them"):
        load_checkpoint(tmp_path / "none.base.safetensors")


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"format": 2}, "wanted format 1 of a base, found 2"),
        ({"format": 1}, r"wanted the facts of a base, found none, .*\(KeyError 'dims'\)"),
        ([], "wanted the facts of a base, found none"),
    ],
)
def test_facts_of_another_kind_are_told(tmp_path: Path, facts: Any, said: str) -> None:
    tensors = {"a": torch.zeros(2)}
    save_file(tensors, tmp_path / "x.safetensors", {base.KEY: json.dumps([base.digest(facts, tensors), facts])})
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(tmp_path / "x.safetensors")


def test_a_weight_beyond_half_precision_is_told(network: Checkpoint, tmp_path: Path) -> None:
    weights = {**network.weights, "decoder.norm.bias": torch.full((64,), 1e6)}
    with pytest.raises(CheckpointError, match=r"decoder\.norm\.bias: wanted values .* found 1e\+06"):
        base.save(replace(network, weights=weights), SHIPPED, tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_base_that_cannot_be_written_leaves_the_former_one(network: Checkpoint, file: Path) -> None:
    before = file.read_bytes()
    (file.parent / f"{file.name}.partial").mkdir()
    with pytest.raises(OutputError, match=r"tiny\.base\.safetensors cannot be written"):
        base.save(network, SHIPPED, file)
    assert file.read_bytes() == before


# -- in a build ------------------------------------------------------------------------------------


def test_a_recipe_asks_for_it() -> None:
    assert not Recipe("x", "tiny.en").base
    with pytest.raises(UsageError, match="base: wanted true, false or \"changes\", found 'yes'"):
        Recipe("x", "tiny.en", base="yes")


def test_another_base_of_the_same_name_is_another_beginning(network: Checkpoint, file: Path) -> None:
    first = origin(str(file))
    assert first.startswith(f"teacher-{file}-") and origin(str(file)) == first
    assert origin("tiny.en") == "teacher-tiny.en"
    base.save(network, Width(8), file)
    assert origin(str(file)) != first


def test_the_card_tells_how_to_begin_with_it(tmp_path: Path) -> None:
    manifest = {
        "name": "x",
        "description": "d",
        "files": {},
        "parameters": 1,
        "language": "en",
        "sample_rate": 16000,
        "provenance": [],
        "licenses": [],
        "parity": {},
        "quantization": {"plan": QuantizationPlan().to_table(), "layers": {"8": 1}, "bytes": {"8": 7}},
    }
    write_card(tmp_path / "without.md", manifest, "")
    write_card(tmp_path / "with.md", {**manifest, "base": {"file": "x.base.safetensors", "bytes": 7}}, "")
    assert "--teacher models/x.base.safetensors" in (tmp_path / "with.md").read_text()
    assert "safetensors" not in (tmp_path / "without.md").read_text()
