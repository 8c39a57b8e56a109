"""Damaged checkpoints of every format that `device-asr-compress` reads."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from compress.checkpoints import base as half
from compress.checkpoints import own
from compress.checkpoints.load import load_checkpoint
from compress.checkpoints.teacher import teacher_folder
from compress.networks.checkpoint import Checkpoint, add_ctc
from compress.networks.dims import LayerDims
from compress.networks.moonshine.network import Moonshine
from compress.networks.whisper.network import Whisper
from compress.quantize.plan import Width
from device_asr.bundle.vocabulary import Vocabulary
from tests.campaign.case import HERE, Case
from tests.campaign.chance import Chance, document
from tests.campaign.edits import Edit
from tests.support import foreign_checkpoints, moonshine_files
from tests.support.dims import DIMS
from tests.support.moonshine import DIMS as MOONSHINE
from tests.support.moonshine import VOCABULARY, random_checkpoint

PT, BASE = "tiny.pt", "x.base.safetensors"
FILES = {  # base -> what `load_checkpoint` is given: the folder, or a file in it
    "own": "",
    "own-moonshine": "",
    "half": BASE,
    "hugging-face": "",
    "hugging-face-moonshine": "",
    "openai": PT,
    "ctranslate2": "",
    "onnxruntime": "",
}
WEIGHTS = ("weights.safetensors", "model.safetensors", BASE)
ODD: tuple[Any, ...] = (
    None, "x", "", -1, 0, 1.5, 10**8, 2**63 - 1, -(2**31), float("inf"), float("nan"), [], {}, [1], {"a": 1}, True,
)  # fmt: skip
TENSORS: tuple[tuple[list[int], str, float], ...] = (  # shape, type, value
    ([0], "float32", 0.0),
    ([], "float32", 0.0),
    ([1, 1, 1], "float32", 0.0),
    ([3, 2], "int64", 0.0),
    ([2, 2], "complex64", 0.0),
    ([16], "float32", float("nan")),
)
HOSTILE = b"cos\nsystem\n(S'echo owned'\ntR."  # a pickle that runs a command


def prepare(bases: Path) -> None:
    folder = bases / "checkpoints"
    torch.manual_seed(0)
    words = Vocabulary(tuple(bytes([b]) for b in range(256)), (257, 259), 256, 258, (3,), (5,))
    ours = add_ctc(Checkpoint(DIMS, Whisper(DIMS).state_dict(), words, ((0, 1),), ("random",)))
    own.save(ours, folder / "own")
    own.save(random_checkpoint(), folder / "own-moonshine")
    (folder / "half").mkdir()
    half.save(ours, Width(4, 32), folder / "half" / BASE)
    plain = _plain_moonshine()
    moonshine_files.save_hugging_face(plain, folder / "hugging-face-moonshine")
    moonshine_files.save_onnxruntime(plain, folder / "onnxruntime", "layers.0.mlp.fc1.weight")
    tokenizer = teacher_folder() / "tokenizer.json"
    theirs = foreign_checkpoints.small(load_checkpoint("tiny.en").vocabulary)
    foreign_checkpoints.save_hugging_face(theirs, folder / "hugging-face", tokenizer)
    foreign_checkpoints.save_ctranslate2(theirs, folder / "ctranslate2", tokenizer)
    (folder / "openai").mkdir()
    foreign_checkpoints.save_openai(theirs, folder / "openai" / PT)


def _plain_moonshine() -> Checkpoint:
    """Of 8 heads with 32 turned dimensions, as ONNX Runtime's files must be."""
    layers = (LayerDims(8, 16),) * 2
    dims = replace(MOONSHINE, state=256, head_dim=32, rotary=32, encoder=layers, decoder=(LayerDims(8, 16, 8),))
    weights = Moonshine(dims).state_dict()
    weights["encoder.conv1.weight"][:, -1] = 0  # a convolution of 127 samples
    return Checkpoint(dims, weights, VOCABULARY, ())


def draw(chance: Chance, bases: Path) -> Case:
    base = chance.choice(sorted(FILES))
    folder = bases / "checkpoints" / base
    name = chance.choice(sorted(path.name for path in folder.iterdir()))
    path = folder / name
    size = path.stat().st_size
    edits: list[Edit]
    roll = chance.random()
    if roll < 0.07:
        edits = [chance.no_file(name)]
    elif name == PT and roll < 0.6:
        edits = [pickled(chance)]
    elif name in WEIGHTS and roll < 0.7:
        edits = [safetensors(chance, path)]
    elif path.suffix == ".json" and roll < 0.85:
        edits = [chance.json_edit(name, document(path)) for _ in range(chance.choice((1, 1, 2)))]
    else:
        edits = chance.byte_edits(name, size)
        if name.endswith(".bin") and roll > 0.6:  # numbers in the records are of the first bytes: name, shape, size
            edits = [[name, "bytes", chance.randrange(min(size, 400)), chance.choice(("ff", "ffff", "ffffffff", "00"))]]
    target = HERE + (f"/{FILES[base]}" if FILES[base] else "")
    return Case("checkpoints", "checkpoint", (target,), f"checkpoints/{base}", tuple(edits))


def safetensors(chance: Chance, path: Path) -> Edit:
    """The header's length or JSON; of a base the facts too."""
    data = path.read_bytes()
    length = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8 : 8 + length])
    roll = chance.random()
    if roll < 0.15:
        size = chance.choice((0, 1, length - 1, length + 1, 100_000_000, 2**32, 2**63, 2**64 - 1))
        return [path.name, "bytes", 0, struct.pack("<Q", size).hex()]
    if path.name == BASE and roll < 0.8:
        facts = json.loads(header["__metadata__"][half.KEY].encode())[1]
        return chance.json_edit(path.name, facts, "facts")
    return chance.json_edit(path.name, header, "header")


def pickled(chance: Chance) -> Edit:
    """Another object in OpenAI's file, or a pickle that would run a command."""
    roll = chance.random()
    if roll < 0.1:
        return [PT, "hex", HOSTILE.hex()]
    if roll < 0.2:
        return [PT, "pickled", [], chance.choice(ODD)]
    key = chance.choice(("n_mels", "n_vocab", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer",
                         "n_text_ctx", "n_text_state", "n_text_head", "n_text_layer"))  # fmt: skip
    place = chance.choice((["dims"], ["model_state_dict"], ["dims", key], ["dims", key], ["dims", key]))
    if roll > 0.7:
        place = ["model_state_dict", chance.choice(("encoder.conv1.weight", "decoder.token_embedding.weight",
                                                    "encoder.positional_embedding", "decoder.ln.bias",
                                                    "encoder.blocks.0.attn.query.weight", "x"))]  # fmt: skip
        return [PT, "tensor", place, *chance.choice(TENSORS)]
    return [PT, "pickled", place, chance.choice(ODD)]
