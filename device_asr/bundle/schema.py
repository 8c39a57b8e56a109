"""What a bundle's manifest of format 1 must hold, so that a damaged one is told before a program sees it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

DTYPES = {"int8": 1, "uint8": 1, "int16": 2, "int32": 4, "int64": 8, "float16": 2, "float32": 4}  # bytes an element
LARGEST = 1_000_000  # positions, cache slots, heads: more is damage, and would ask for gigabytes
COUNT, SIZE = "a whole number of 0 or more", f"a whole number of 1 to {LARGEST}"
ID, EXTENT = f"a whole number of 0 to {LARGEST}", "a whole number or a named length"
TEXT, DTYPE, FILE = "a text", "one of " + ", ".join(DTYPES), "the name of a file in the bundle"
_TENSOR = [{"name": TEXT, "shape": [EXTENT], "dtype": DTYPE}]
_METHOD = {"inputs": _TENSOR, "outputs": _TENSOR}
_CONSTANTS = {"*": {"offset": COUNT, "shape": [SIZE], "dtype": DTYPE}}
# a list holds things of one kind; "*": any key; a key with "?" may be left out; other keys are free
SCHEMA: dict[str, Any] = {
    "name": TEXT,
    "description?": TEXT,
    "parameters?": COUNT,
    "licenses?": [{"part": TEXT, "license": TEXT, "from": TEXT}],
    "provenance?": [TEXT],
    "files": {"*": {"sha256": TEXT, "bytes": COUNT}},
    "programs": {
        "speech": {"file": FILE, "methods": {"*": _METHOD}, "constants?": _CONSTANTS},
        "vad": {"file": FILE, "methods": {"*": _METHOD}, "constants?": _CONSTANTS},
    },
    "speech": {
        "samples_per_position": SIZE,
        "positions": SIZE,
        "cache": SIZE,
        "tokens_per_call": SIZE,
        "layers": [{"heads": SIZE, "cross_heads": SIZE, "head_dim": SIZE}],
    },
    "vocabulary": {
        "file": FILE,
        "suppress_first": [ID],
        "suppress": [ID],
        "special": {"*": ID, "end": ID, "start": ID, "no_speech": ID, "no_timestamps": ID},
    },
}
REQUIRED_METHODS = {"speech": ("encode", "decode"), "vad": ("step",)}


def problem(manifest: Any) -> str | None:
    """The first thing wrong with a parsed manifest, as "wanted ..., found ..."; None where nothing is."""
    return next(_problems(manifest), None)


def _problems(manifest: Any) -> Iterator[str]:
    yield from _mismatches(manifest, SCHEMA, "", manifest.get("files") if isinstance(manifest, dict) else None)
    for program, wanted in REQUIRED_METHODS.items():
        methods = manifest["programs"][program]["methods"]
        for method in wanted:
            if method not in methods:
                yield f"program {program!r} wanted the method {method!r}, found {sorted(methods)}"
    yield from _signatures(manifest)
    for name in manifest["files"]:
        if "/" in name or "\\" in name or name in (".", ".."):
            yield f"wanted names of files beside the manifest, found {name!r}"
    for program, entry in manifest["programs"].items():
        size = manifest["files"][entry["file"]]["bytes"]
        for name, constant in entry.get("constants", {}).items():
            end = constant["offset"] + math.prod(constant["shape"]) * DTYPES[constant["dtype"]]
            if end > size:
                yield (
                    f"the constant {name!r} of program {program!r} ends at byte {end} of {entry['file']}, "
                    f"which has {size}"
                )
    special = manifest["vocabulary"]["special"]
    rows = max(special.values()) + 1
    for key in ("suppress", "suppress_first"):
        if max(manifest["vocabulary"][key], default=0) >= rows:
            yield f"wanted vocabulary.{key} to hold ids under {rows}, found {max(manifest['vocabulary'][key])}"


def _signatures(manifest: Mapping[str, Any]) -> Iterator[str]:
    """The recognizer gives `encode` an utterance, `decode` tokens, position, four arrays a layer, `step` a frame and a
    state; a program's other inputs must be constants."""
    given = {"speech": {"encode": 1, "decode": 2 + 4 * len(manifest["speech"]["layers"])}, "vad": {"step": 4}}
    for program, methods in given.items():
        entry = manifest["programs"][program]
        for method, count in methods.items():
            inputs = [i["name"] for i in entry["methods"][method]["inputs"]]
            free = [name for name in inputs if name not in entry.get("constants", {})]
            if len(free) != count:
                yield f"{program}.{method} wanted {count} inputs that are no constants, found {len(free)}"


def _mismatches(value: Any, wanted: Any, where: str, files: Any) -> Iterator[str]:
    """Every place where `value` is not of the form `wanted`."""
    if isinstance(wanted, str):
        if not _fits(value, wanted, files):
            yield f"wanted {wanted} at {where}, found {_short(value)}"
        return
    kind = type(wanted)
    if not isinstance(value, kind):
        yield f"wanted a {'table' if kind is dict else 'list'}{f' at {where}' if where else ''}, found {_short(value)}"
        return
    if kind is list:
        for index, item in enumerate(value):
            yield from _mismatches(item, wanted[0], f"{where}[{index}]", files)
        return
    prefix = f"{where}." if where else ""
    for key, form in wanted.items():
        name = key.removesuffix("?")
        if key == "*":
            for own, item in value.items():
                yield from _mismatches(item, form, prefix + own, files)
        elif name in value:
            yield from _mismatches(value[name], form, prefix + name, files)
        elif name == key:
            yield f"the manifest lacks {prefix}{key}"


def _fits(value: Any, wanted: str, files: Any) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if wanted in (SIZE, ID):
        return whole and (wanted == SIZE) <= value <= LARGEST
    if wanted == COUNT:
        return whole and value >= 0
    if wanted == EXTENT:
        return whole or isinstance(value, str)
    if not isinstance(value, str):
        return False
    if wanted == DTYPE:
        return value in DTYPES
    return wanted == TEXT or (isinstance(files, dict) and value in files)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
