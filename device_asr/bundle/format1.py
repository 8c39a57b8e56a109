"""Manifests of format 1, which had no roles: their schema, and their upgrade to format 2."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from device_asr.audio.format import SAMPLE_RATE
from device_asr.bundle.forms import COUNT, DTYPE, EXTENT, FILE, ID, SIZE, TEXT, mismatches
from device_asr.bundle.roles import ALIGNMENT, CONSTANT, CTC, LOGITS, PCM, POSITION, PROBABILITY, STATE, TOKENS, nth

_TENSOR = [{"name": TEXT, "shape": [EXTENT], "dtype": DTYPE}]
_METHOD = {"inputs": _TENSOR, "outputs": _TENSOR}
_STREAM = {**_METHOD, "state": [TEXT], "delay": ID, "ahead?": ID}
_CONSTANTS = {"*": {"offset": COUNT, "shape": [SIZE], "dtype": DTYPE}}
# what the upgrade reads; the schema of format 2 checks the rest
SCHEMA: dict[str, Any] = {
    "name": TEXT,
    "files": {"*": {"sha256": TEXT, "bytes": COUNT}},
    "programs": {
        "speech": {"file": FILE, "methods": {"*": _METHOD, "stream?": _STREAM}, "constants?": _CONSTANTS},
        "vad": {"file": FILE, "methods": {"*": _METHOD}, "constants?": _CONSTANTS},
    },
    "speech": {"samples_per_position": SIZE, "positions": SIZE, "cache": SIZE, "tokens_per_call": SIZE},
    "vocabulary": {
        "file": FILE,
        "suppress": [ID],
        "suppress_first": [ID],
        "special": {"end": ID, "start": ID, "no_speech": ID, "no_timestamps": ID},
    },
}
_ROLES = {
    **{role: role for role in (PCM, TOKENS, POSITION, LOGITS, ALIGNMENT, PROBABILITY)},
    "symbols": CTC,
}
_LAYER = re.compile(r"(self|new|cross)_(keys|values)_(\d{1,4})")
_DETECTOR_STATE = ("context", "hidden", "cell")


def problem(manifest: Any) -> str | None:
    """The first fault of a parsed manifest that prevents its upgrade; None: there is none."""
    files = manifest.get("files") if isinstance(manifest, dict) else None
    return next(mismatches(manifest, SCHEMA, "", files if isinstance(files, dict) else ()), None)


def upgrade(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest in format 2, for one without a `problem`; all bundles of format 1 are of the family Whisper."""
    speech, vocabulary, programs = manifest["speech"], manifest["vocabulary"], manifest["programs"]
    special = vocabulary["special"]
    upgraded: dict[str, Any] = {
        "format": 2,
        "name": manifest["name"],
        "family": "whisper",
        "language": manifest.get("language", "en"),
        "description": manifest.get("description", ""),
        "sample_rate": manifest.get("sample_rate", SAMPLE_RATE),
        **_kept(manifest, ("parameters", "licenses", "provenance")),
        "files": manifest["files"],
        "programs": {name: _program(program) for name, program in programs.items()},
        "speech": {
            **{key: speech[key] for key in ("samples_per_position", "positions", "cache", "tokens_per_call")},
            "prompt": [special["start"], special["no_timestamps"]],
            "end": special["end"],
            "no_speech": special["no_speech"],
            "word_start": " ",
        },
        "vocabulary": {key: vocabulary[key] for key in ("file", "suppress", "suppress_first")},
    }
    return upgraded | _kept(manifest, ("quantization", "parity", "base"))


def _kept(manifest: Mapping[str, Any], wanted: Collection[str]) -> dict[str, Any]:
    """Entries that stay as they are, but for British keys of early bundles ("licences", "quantisation")."""
    return {new: _american(value) for key, value in manifest.items() if (new := _american_key(key)) in wanted}


def _american(value: Any) -> Any:
    if isinstance(value, list):
        return [_american(item) for item in value]
    return {_american_key(k): _american(v) for k, v in value.items()} if isinstance(value, dict) else value


def _american_key(key: str) -> str:
    return key.replace("licence", "license").replace("quantis", "quantiz")


def _program(program: Mapping[str, Any]) -> dict[str, Any]:
    constants = program.get("constants", {})
    methods = {name: _method(method, constants) for name, method in program["methods"].items()}
    return {"file": program["file"], "methods": methods} | ({"constants": constants} if "constants" in program else {})


def _method(method: Mapping[str, Any], constants: Collection[str]) -> dict[str, Any]:
    """The method with the roles that the names of its inputs and outputs stood for."""
    outputs = method["outputs"]
    detects = any(tensor["name"] == PROBABILITY for tensor in outputs)
    state: Sequence[str] = _DETECTOR_STATE if detects else method.get("state", ())

    def described(tensor: Mapping[str, Any], constant: bool) -> dict[str, Any]:
        name = tensor["name"]
        role = CONSTANT if constant else nth(STATE, state.index(name)) if name in state else _role(name)
        start = {"start": 0.0} if detects and name in state else {}
        return {"name": name, "role": role, **{k: v for k, v in tensor.items() if k != "name"}, **start}

    found: dict[str, Any] = {
        "inputs": [described(tensor, tensor["name"] in constants) for tensor in method["inputs"]],
        "outputs": [{k: v for k, v in described(tensor, False).items() if k != "start"} for tensor in outputs],
    }
    if "delay" in method:
        found |= {"delay": method["delay"], "look_ahead": method.get("ahead", 0)}
    return found


def _role(name: str) -> str:
    """The role of a tensor that is neither a constant nor a state; an unknown name stays, and is no known role."""
    match = _LAYER.fullmatch(name)
    if match:
        return nth(f"{'self' if match[1] == 'new' else match[1]}_{match[2]}", int(match[3]))
    return _ROLES.get(name, name)
