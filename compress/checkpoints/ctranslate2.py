"""CTranslate2 folders."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compress.checkpoints.believed import believed
from compress.checkpoints.reading import read_json, regular, told
from compress.networks.checkpoint import Checkpoint, from_foreign
from compress.networks.family import Foreign
from compress.networks.weights import CheckpointError

FAMILIES = {"WhisperSpec": "whisper"}  # name of the model specification -> family
DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def _read(path: Path) -> tuple[str, dict[str, Tensor]]:
    """The specification's name and the tensors of a model.bin, version 6: header, then records.

    A record is name, shape, dtype and bytes.
    """
    with (
        told(path, "a model of CTranslate2"),
        regular(path).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        return _records(path, data)


def _records(path: Path, data: mmap.mmap) -> tuple[str, dict[str, Tensor]]:
    offset = 0

    def take(layout: str) -> tuple[Any, ...]:
        nonlocal offset
        values = struct.unpack_from("<" + layout, data, offset)
        offset += struct.calcsize("<" + layout)
        return values

    def text() -> str:
        nonlocal offset
        (length,) = take("H")
        value = data[offset : offset + length - 1].decode()  # ends in a NUL
        offset += length
        return value

    try:
        (version,) = take("I")
        if version != 6:
            raise CheckpointError(f"{path}: wanted CTranslate2 binary version 6, found {version}.")
        kind, _revision = text(), take("I")
        if kind not in FAMILIES:
            raise CheckpointError(f"{path}: wanted a {' or '.join(FAMILIES)}, found {kind[:60]!r}.")
        tensors: dict[str, Tensor] = {}
        for _ in range(take("I")[0]):
            name = text()
            (rank,) = take("B")
            shape = take(f"{rank}I")
            dtype_id, size = take("BI")
            if dtype_id not in DTYPES:
                raise CheckpointError(f"{path}: tensor {name}: wanted a dtype id of 0 to 4, found {dtype_id}.")
            array = np.frombuffer(data[offset : offset + size], DTYPES[dtype_id])
            tensors[name] = torch.from_numpy(array.reshape(shape).copy())
            offset += size
        return kind, tensors
    except (struct.error, ValueError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is damaged or cut short at byte {offset} of {len(data)}: {error}.") from None


def load_ctranslate2(folder: Path) -> Checkpoint:
    """A checkpoint from a CTranslate2 folder (model.bin, config.json, tokenizer.json), float16 or float32.

    Raises:
        CheckpointError: a broken file, 8-bit weights, or tensors that do not fit.
    """
    spec, tensors = _read(folder / "model.bin")
    if any(name.endswith("weight_scale") for name in tensors):
        raise CheckpointError(f"{folder}: wanted float weights, found int8; convert the model with float16 weights.")
    config = read_json(folder / "config.json", "the settings of a CTranslate2 model")
    with told(folder, "a CTranslate2 folder with model.bin, config.json and tokenizer.json that fit"):
        foreign = Foreign("ctranslate2", tensors, config, folder, folder)
        return believed(from_foreign(FAMILIES[spec], foreign, f"CTranslate2 folder {folder.name}"))
