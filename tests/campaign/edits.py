"""Edits of files as plain JSON: what a case does to its base, small enough to keep and exact enough to make again.

An edit is a list [file, operation, operands...]. A text operand is a text, or {"repeat": text, "times": n}, so that a
hundred thousand brackets stay one line. JSON is edited as text behind the parser, so that a value may be anything,
such as 1e999, NaN or a number of 400 digits.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

Edit = list[Any]
Text = str | dict[str, Any]
MARK = "\ue000mark\ue000"  # stands in a JSON text where the value goes
SPECIAL = ("drop", "folder", "fifo", "link")


def text_of(operand: Text) -> str:
    """The text of an operand."""
    return operand if isinstance(operand, str) else str(operand["repeat"]) * int(operand["times"])


def places(value: Any, most: int = 3, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a parsed JSON text; of a list the first `most`."""
    if path:
        yield path
    keys = value if isinstance(value, dict) else range(min(most, len(value))) if isinstance(value, list) else ()
    for key in keys:
        yield from places(value[key], most, (*path, key))


def with_value(document: Any, path: list[Any], value: Text | None) -> str:
    """The JSON text of a document with the raw `value` at a place, which may be new; None: without that place."""
    document = json.loads(json.dumps(document))
    if not path:
        return "" if value is None else text_of(value)
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    if value is None:
        del parent[path[-1]]
        return json.dumps(document)
    parent[path[-1]] = MARK
    return json.dumps(document, ensure_ascii=False).replace(f'"{MARK}"', text_of(value), 1)


# -- operations on the bytes of a file -------------------------------------------------------------


def _cut(data: bytes, size: int) -> bytes:
    return data[:size]


def _bytes(data: bytes, at: int, values: str) -> bytes:
    new = bytes.fromhex(values)
    return (data[:at] + new + data[at + len(new) :])[: max(len(data), at + len(new))]


def _insert(data: bytes, at: int, values: str) -> bytes:
    return data[:at] + bytes.fromhex(values) + data[at:]


def _zeros(data: bytes, at: int, count: int) -> bytes:
    return data[:at] + bytes(min(count, len(data) - at)) + data[at + count :]


def _json(data: bytes, path: list[Any], value: Text | None) -> bytes:
    return with_value(json.loads(data), path, value).encode("utf-8", "surrogatepass")


def _line(data: bytes, number: int, path: list[Any], value: Text | None) -> bytes:
    """One line of a file of JSON lines; an empty path replaces the line."""
    lines = data.splitlines()
    found = with_value(json.loads(lines[number]) if path else None, path, value)
    return b"\n".join([*lines[:number], found.encode("utf-8", "surrogatepass"), *lines[number + 1 :]]) + b"\n"


def _header(data: bytes, path: list[Any], value: Text | None) -> bytes:
    """The JSON header of a safetensors file."""
    size = struct.unpack_from("<Q", data)[0]
    header = with_value(json.loads(data[8 : 8 + size]), path, value).encode()
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


def _facts(data: bytes, path: list[Any], value: Text | None) -> bytes:
    """The facts in the header of a bundle's base, whose checksum fits them again."""
    size = struct.unpack_from("<Q", data)[0]
    header, key = json.loads(data[8 : 8 + size]), "device-asr-base"
    facts = with_value(json.loads(header["__metadata__"][key])[1], path, value)
    try:
        digest = hashlib.sha256(json.dumps(json.loads(facts)).encode())
    except (ValueError, RecursionError):
        digest = hashlib.sha256()
    for name in sorted(set(header) - {"__metadata__"}):
        first, end = header[name]["data_offsets"]
        digest.update(name.encode() + data[8 + size + first : 8 + size + end])
    header["__metadata__"][key] = f'["{digest.hexdigest()}", {facts}]'
    changed = json.dumps(header).encode()
    return struct.pack("<Q", len(changed)) + changed + data[8 + size :]


def _tensor(data: bytes, path: list[Any], shape: list[int], dtype: str, value: float) -> bytes:
    """A tensor of one value in a PyTorch file."""
    import torch  # two seconds, which only checkpoints need

    return _pickled(data, path, torch.full(shape, value, dtype=getattr(torch, dtype)))


def _pickled(data: bytes, path: list[Any], value: Any) -> bytes:
    """An object in a PyTorch file; [] as the path replaces all of it, None takes its place away."""
    import torch

    stored = torch.load(io.BytesIO(data), weights_only=True)
    if path:
        parent = stored
        for key in path[:-1]:
            parent = parent[key]
        if value is None:
            del parent[path[-1]]
        else:
            parent[path[-1]] = value
    else:
        stored = value
    out = io.BytesIO()
    torch.save(stored, out)
    return out.getvalue()


def _gzip(data: bytes, text: Text) -> bytes:
    """A compressed text in place of the file."""
    return gzip.compress(text_of(text).encode("utf-8", "surrogatepass"), 9, mtime=0)


def _bomb(data: bytes, text: Text, times: int) -> bytes:
    """A compressed text so many times in a row: a few MB that stand for GB."""
    return _gzip(data, text) * times


def _token(data: bytes, number: int, text: Text) -> bytes:
    """One token of a bundle's vocabulary."""
    lines = gzip.decompress(data).splitlines()
    lines[number] = base64.b64encode(text_of(text).encode("utf-8", "surrogatepass"))
    return gzip.compress(b"\n".join(lines) + b"\n", mtime=0)


def _fill(data: bytes, text: Text) -> bytes:
    return text_of(text).encode("utf-8", "surrogatepass")


def _hexadecimal(data: bytes, values: str) -> bytes:
    return bytes.fromhex(values)


def _append(data: bytes, text: Text) -> bytes:
    return data + text_of(text).encode("utf-8", "surrogatepass")


OPERATIONS: Mapping[str, Callable[..., bytes]] = {
    "cut": _cut,
    "bytes": _bytes,
    "insert": _insert,
    "zeros": _zeros,
    "json": _json,
    "line": _line,
    "header": _header,
    "facts": _facts,
    "pickled": _pickled,
    "tensor": _tensor,
    "gzip": _gzip,
    "bomb": _bomb,
    "token": _token,
    "fill": _fill,
    "hex": _hexadecimal,
    "append": _append,
}


# -- a case's folder -------------------------------------------------------------------------------


def prepare(base: Path | None, edits: list[Edit], folder: Path) -> None:
    """Makes `folder` of the files of `base` with the edits; files that stay as they are are links to the same bytes."""
    folder.mkdir(parents=True)
    contents: dict[str, bytes] = {}
    special: list[Edit] = []
    for edit in edits:
        name, operation, *operands = edit
        if operation in SPECIAL:
            special.append(edit)
        elif operation == "sign":
            contents[name] = _signed(
                contents.get(name) or (base / name).read_bytes() if base else b"", contents, folder
            )
        else:
            contents[name] = _edited(contents, base, name, operation, operands)
    replaced = {*contents, *(str(edit[0]) for edit in special)}
    for path in sorted(base.rglob("*")) if base is not None else ():
        name = str(path.relative_to(base)) if base is not None else ""
        if path.is_file() and name not in replaced:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(path, folder / name)
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    for name, operation, *operands in special:
        _special(folder / name, operation, operands)


def _edited(contents: Mapping[str, bytes], base: Path | None, name: str, operation: str, operands: list[Any]) -> bytes:
    """The file after one edit; as it is where an edit before left no place for it."""
    if name not in contents:
        exists = base is not None and (base / name).is_file()
        return OPERATIONS[operation]((base / name).read_bytes() if base is not None and exists else b"", *operands)
    try:
        return OPERATIONS[operation](contents[name], *operands)
    except (ValueError, LookupError, TypeError, RecursionError, struct.error):
        return contents[name]


def _special(path: Path, operation: str, operands: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if operation == "folder":
        path.mkdir()
    elif operation == "fifo":
        os.mkfifo(path)
    elif operation == "link":
        path.symlink_to(operands[0])


def _signed(manifest: bytes, contents: Mapping[str, bytes], folder: Path) -> bytes:
    """A bundle's manifest with sizes and checksums of the changed files; as it is where it can hold none."""
    try:
        document = json.loads(manifest)
        for name in document["files"]:
            if name in contents:
                data = contents[name]
                document["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        return json.dumps(document).encode()
    except (ValueError, KeyError, TypeError, RecursionError):
        return manifest
