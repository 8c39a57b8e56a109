"""Reads files of checkpoints within bounds; what damage makes of a reader's work is one sentence.

A file's own word for a size is compared with the bytes that are there before anything is made of it.
"""

from __future__ import annotations

import pickle
import stat
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from compress.networks.weights import CheckpointError
from device_asr.bounded import parse_json, read_bytes

MOST_JSON = 1 << 26  # bytes; the largest, Whisper's tokenizer.json, has 2.2 MB
MOST_HEADER = 1 << 24  # bytes of a safetensors header; en-tiny's base has 0.8 MB, most of it the vocabulary
MOST_REASON = 160  # characters of a library's own words in a sentence
DAMAGE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    EOFError,
    AssertionError,
    struct.error,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    SafetensorError,
)


@contextmanager
def told(source: Path, wanted: str) -> Iterator[None]:
    """Raises what damage makes of a reader's work as CheckpointError: source, what was wanted, and why it is none."""
    try:
        yield
    except DAMAGE as error:
        raise CheckpointError(
            f"{source}: wanted {wanted}, found none, or one that is damaged or cut short ({reason(error)}); "
            "copy or make it again."
        ) from None


def reason(error: BaseException) -> str:
    """The first line of an error's own words, in at most `MOST_REASON` characters, and its kind where it has none."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    first = next(iter(str(error).strip().splitlines()), "")
    text = f"{type(error).__name__} {first}".strip() if isinstance(error, LookupError) or not first else first
    return text if len(text) <= MOST_REASON else f"{text[: MOST_REASON - 3]}..."


def regular(path: Path) -> Path:
    """The path of a file; a pipe would wait for ever, and a device never ends.

    Raises:
        CheckpointError: it is none.
    """
    try:
        if stat.S_ISREG(path.stat().st_mode):
            return path
        found = "a folder" if path.is_dir() else "a pipe or device"
    except (OSError, ValueError) as error:
        found = reason(error)
    raise CheckpointError(f"{path}: wanted a file, found none ({found}); copy or make it again.")


def read_json(path: Path, wanted: str) -> dict[str, Any]:
    """The object of a JSON file.

    Raises:
        CheckpointError: missing, too large, damaged, or no object.
    """
    with told(path, wanted):
        found = parse_json(read_bytes(regular(path), MOST_JSON))
        if not isinstance(found, dict):
            raise TypeError(f"a JSON {type(found).__name__}")
        return found


def read_safetensors(path: Path, wanted: str, tensors: bool = True) -> tuple[Mapping[str, str], dict[str, Tensor]]:
    """The metadata and the tensors of a safetensors file, or the metadata alone.

    Raises:
        CheckpointError: missing, damaged, or with a header that is too large.
    """
    with told(path, wanted):
        size = regular(path).stat().st_size
        with path.open("rb") as file:
            (header,) = struct.unpack("<Q", file.read(8))
        if header > min(MOST_HEADER, size - 8):
            raise ValueError(f"a header of {header} bytes in a file of {size} that is damaged or cut short")
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            names = stored.keys() if tensors else ()
            found = {name: stored.get_tensor(name) for name in names}
    check_tensors(found, path)
    return metadata, found


def check_tensors(tensors: Mapping[str, Any], source: Path) -> None:
    """Compares tensors with the memory that they stand for: one number, repeated, may claim any size.

    Raises:
        CheckpointError: one is none of real numbers, is sparse or elsewhere, or is larger than what is stored of it.
    """
    for name, tensor in tensors.items():
        if (
            not isinstance(tensor, Tensor)
            or tensor.layout is not torch.strided
            or tensor.device.type != "cpu"
            or tensor.is_complex()
            or tensor.is_quantized
            or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()
        ):
            raise CheckpointError(
                f"{source}: tensor {str(name)[:MOST_REASON]!r}: wanted real numbers, each stored, found another kind; "
                "copy or make it again."
            )
