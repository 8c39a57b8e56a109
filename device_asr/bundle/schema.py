"""The schema of a manifest of format 2; a damaged manifest is reported before a program sees it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from device_asr.audio.format import SAMPLE_RATE, STEP
from device_asr.bundle import sizes
from device_asr.bundle.forms import (
    COUNT,
    DTYPE,
    DTYPES,
    EXTENT,
    FILE,
    ID,
    NAME,
    NO_ID,
    RATE,
    SIZE,
    START,
    TEXT,
    mismatches,
)
from device_asr.bundle.roles import (
    CONSTANT,
    CROSS_KEYS,
    CROSS_VALUES,
    CTC,
    LOGITS,
    METHODS,
    PCM,
    POSITION,
    PROBABILITY,
    SELF_KEYS,
    SELF_VALUES,
    STATE,
    TOKENS,
    Roles,
    nth,
    numbered,
)
from device_asr.bundle.speech import END_FIRST
from device_asr.printable import has_control, short

LARGEST_TENSOR = 100_000_000  # elements; the largest of a Whisper tiny, its embedding, has 7 million
_TENSOR = {"name": NAME, "role": NAME, "shape": [EXTENT], "dtype": DTYPE, "start?": START}
_METHOD = {"inputs": [_TENSOR], "outputs": [_TENSOR]}
_STREAM = {**_METHOD, "delay": ID, "look_ahead": ID}
_CONSTANTS = {"*": {"offset": COUNT, "shape": [SIZE], "dtype": DTYPE}}
SCHEMA: dict[str, Any] = {
    "name": NAME,
    "family": NAME,
    "language": NAME,
    "description?": TEXT,
    "sample_rate": SIZE,
    "parameters?": COUNT,
    "licenses?": [{"part": TEXT, "license": TEXT, "from": TEXT}],
    "provenance?": [TEXT],
    "files": {"*": {"sha256": TEXT, "bytes": COUNT}},
    "programs": {
        "speech": {"file": FILE, "methods": {"*": _METHOD, "stream?": _STREAM}, "constants?": _CONSTANTS},
        "vad": {"file": FILE, "methods": {"*": _METHOD}, "constants?": _CONSTANTS},
    },
    "speech": {
        "samples_per_position": SIZE,
        "positions": SIZE,
        "cache": SIZE,
        "tokens_per_call": SIZE,
        "prompt": [ID],
        "end": ID,
        "no_speech": NO_ID,
        "word_start": NAME,
        "tokens_per_second?": RATE,
        "retry_silence?": RATE,
        "end_first?": TEXT,
    },
    "vocabulary": {"file": FILE, "suppress": [ID], "suppress_first": [ID]},
}
REQUIRED_METHODS = {"speech": ("encode", "decode"), "vad": ("step",)}
_DTYPES = {TOKENS: "int64", POSITION: "int64", CONSTANT: None, STATE: None}  # others: float32; None: any
_RANKS = {PCM: 2, TOKENS: 1, POSITION: 1, LOGITS: 2, CTC: 2, PROBABILITY: 2, CONSTANT: None, STATE: None}  # others: 3
# roles that two methods share: what one gives, the other takes
_SHARED = (
    (("speech", "encode", "outputs"), ("speech", "decode", "inputs"), (CROSS_KEYS, CROSS_VALUES)),
    (("speech", "stream", "outputs"), ("speech", "decode", "inputs"), (CROSS_KEYS, CROSS_VALUES)),
    (("speech", "decode", "outputs"), ("speech", "decode", "inputs"), (SELF_KEYS, SELF_VALUES)),
    (("speech", "stream", "outputs"), ("speech", "stream", "inputs"), (STATE,)),
    (("vad", "step", "outputs"), ("vad", "step", "inputs"), (STATE,)),
)
_PAIRS = ((SELF_KEYS, SELF_VALUES), (CROSS_KEYS, CROSS_VALUES))


def problem(manifest: Any) -> str | None:
    """The first fault of a parsed manifest, as "wanted ..., found ..."; None: there is none."""
    return next(_problems(manifest), None)


def _problems(manifest: Any) -> Iterator[str]:
    files = manifest.get("files") if isinstance(manifest, dict) else None
    yield from mismatches(manifest, SCHEMA, "", files if isinstance(files, dict) else ())
    for name in manifest["files"]:
        if "/" in name or "\\" in name or name in (".", "..") or has_control(name):
            yield f"wanted names of files beside the manifest, found {short(name)}"
    if manifest["sample_rate"] != SAMPLE_RATE:
        yield f"wanted a sample_rate of {SAMPLE_RATE}, found {manifest['sample_rate']}"
    for program, required in REQUIRED_METHODS.items():
        methods = manifest["programs"][program]["methods"]
        for name in required:
            if name not in methods:
                yield f"program {program!r} wanted the method {name!r}, found {short(sorted(methods))}"
    for program, name, method in _methods(manifest):
        yield from _method_problems(manifest, program, name, method)
    yield from _shared_problems(manifest)
    yield from _constant_problems(manifest)
    yield from _vocabulary_problems(manifest)
    yield from _cache_problems(manifest)
    yield from _state_problems(manifest)
    yield from sizes.problems(manifest)


def _methods(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """The methods that the runtime knows: program, name and description."""
    for program, name in METHODS:
        methods = manifest["programs"][program]["methods"]
        if name in methods:
            yield program, name, methods[name]


def _method_problems(manifest: Mapping[str, Any], program: str, name: str, method: Mapping[str, Any]) -> Iterator[str]:
    constants = manifest["programs"][program].get("constants", {})
    for kind, roles in zip(("inputs", "outputs"), METHODS[program, name], strict=True):
        where = f"{program}.{name}"
        yield from _role_problems(roles, method[kind], f"{kind[:-1]} of {where}")
        for tensor in method[kind]:
            yield from _tensor_problems(tensor, f"{tensor['name']!r} of {where}")
            if tensor["role"] == CONSTANT and tensor["name"] not in constants:
                yield (
                    f"wanted a place in programs.{program}.constants for the constant {tensor['name']!r} of {where}, "
                    f"found {short(sorted(constants))}"
                )


def _role_problems(roles: Roles, tensors: Sequence[Mapping[str, Any]], what: str) -> Iterator[str]:
    """Roles that are unknown, missing, given twice, or not numbered from 0 on."""
    found = [tensor["role"] for tensor in tensors]
    for role, count in Counter(found).items():
        if not roles.knows(role):
            yield f"wanted one of {', '.join(roles.known)} as the role of an {what}, found {role!r}"
        if count > 1 and role != CONSTANT:
            yield f"wanted one {what} with the role {role!r}, found {count}"
    for role in roles.one:
        if role not in found:
            yield f"wanted an {what} with the role {role!r}, found {short(sorted(set(found)))}"
    for role in roles.many:
        own = numbered(role, found)
        for number, one in enumerate(own):
            if one != nth(role, number):
                yield f"wanted an {what} with the role {nth(role, number)!r}, found {short(own)}"


def _tensor_problems(tensor: Mapping[str, Any], what: str) -> Iterator[str]:
    """Dtypes, ranks and sizes that the runtime cannot bind."""
    role, shape = tensor["role"].partition("[")[0], tensor["shape"]
    dtype, rank = _DTYPES.get(role, "float32"), _RANKS.get(role, 3)
    if dtype not in (None, tensor["dtype"]):
        yield f"wanted the dtype {dtype} of {what}, found {tensor['dtype']}"
    if rank not in (None, len(shape)):
        yield f"wanted {rank} axes in the shape of {what}, found {short(shape)}"
    if math.prod(size for size in shape if isinstance(size, int)) > LARGEST_TENSOR:
        yield f"wanted at most {LARGEST_TENSOR} elements in {what}, found the shape {short(shape)}"
    start = tensor.get("start")
    if isinstance(start, list) and (len(shape) < 2 or shape[-2] != len(start)):
        yield f"wanted a start for each row of {what}, whose shape is {short(shape)}, found {len(start)}"


def _shared_problems(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Keys and values that differ in number, and roles that one method gives and the other does not take."""
    described = {(program, name): method for program, name, method in _methods(manifest)}

    def roles(program: str, name: str, kind: str, role: str) -> list[str]:
        return numbered(role, (tensor["role"] for tensor in described[program, name][kind]))

    for pair in _PAIRS:
        keys, values = (len(roles("speech", "decode", "inputs", role)) for role in pair)
        if not keys or keys != values:
            yield f"wanted as many {pair[0]} as {pair[1]}, at least one, in speech.decode, found {keys} and {values}"
    for given, taken, names in _SHARED:
        for role in names if given[:2] in described else ():
            ours, theirs = roles(*given, role), roles(*taken, role)
            if ours != theirs:
                yield f"wanted {short(theirs)} in the {given[2]} of {'.'.join(given[:2])}, found {short(ours)}"


def _constant_problems(manifest: Mapping[str, Any]) -> Iterator[str]:
    for program, entry in manifest["programs"].items():
        size = manifest["files"][entry["file"]]["bytes"]
        for name, constant in entry.get("constants", {}).items():
            end = constant["offset"] + math.prod(constant["shape"]) * DTYPES[constant["dtype"]]
            if end > size:
                yield (
                    f"the constant {name!r} of program {program!r} ends at byte {end} of {entry['file']}, "
                    f"which has {size}"
                )


def _vocabulary_problems(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Ids that the logits do not have, a prompt that no call takes, and habits that no program has."""
    speech = manifest["speech"]
    if speech.get("end_first", END_FIRST[0]) not in END_FIRST:
        yield f"wanted one of {', '.join(END_FIRST)} at speech.end_first, found {short(speech['end_first'])}"
    if speech.get("tokens_per_second", 1) <= 0:
        yield f"wanted speech.tokens_per_second to be above 0, found {speech['tokens_per_second']}"
    ids = _by_role(manifest["programs"]["speech"]["methods"]["decode"]["outputs"])[LOGITS]["shape"][-1]
    if not isinstance(ids, int):
        yield f"wanted a number of ids as the last size of the logits, found {short(ids)}"
    lists = {
        "speech.prompt": speech["prompt"],
        "speech.end": [speech["end"]],
        "speech.no_speech": [] if speech["no_speech"] is None else [speech["no_speech"]],
        "vocabulary.suppress": manifest["vocabulary"]["suppress"],
        "vocabulary.suppress_first": manifest["vocabulary"]["suppress_first"],
    }
    if speech["end"] in lists["vocabulary.suppress"]:
        yield f"wanted vocabulary.suppress without the end, or no text would end, found {speech['end']} in it"
    for key, found in lists.items():
        if max(found, default=0) >= ids:
            yield f"wanted {key} to hold ids under {ids}, found {max(found)}"
    most = min(speech["cache"] - 1, speech["tokens_per_call"])
    if not 1 <= len(speech["prompt"]) <= most:
        yield f"wanted 1 to {most} ids in speech.prompt, found {len(speech['prompt'])}"


def _cache_problems(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Caches of another size than the manifest says."""
    slots = manifest["speech"]["cache"]
    for tensor in manifest["programs"]["speech"]["methods"]["decode"]["inputs"]:
        role, shape = tensor["role"].partition("[")[0], tensor["shape"]
        if role in (SELF_KEYS, SELF_VALUES) and (not _fixed(shape) or shape[2 if role == SELF_KEYS else 1] != slots):
            yield (
                f"wanted a cache of {slots} slots in the shape of {tensor['name']!r} of speech.decode, "
                f"found {short(shape)}"
            )


def _state_problems(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Methods that go on from call to call: shapes that vary, states without a start, chunks of another length."""
    methods = {**manifest["programs"]["speech"]["methods"], **manifest["programs"]["vad"]["methods"]}
    for name in ("stream", "step"):
        if name not in methods:
            continue
        for tensor in (*methods[name]["inputs"], *methods[name]["outputs"]):
            if not _fixed(tensor["shape"]):
                found = short(tensor["shape"])
                yield f"wanted a shape of whole numbers for {tensor['name']!r} of {name}, found {found}"
        for role, tensor in _by_role(methods[name]["inputs"]).items():
            if role not in (PCM, CONSTANT) and "start" not in tensor:
                yield f"wanted the start of the state {tensor['name']!r} of {name}, found none"
    if (found := _by_role(methods["step"]["inputs"])[PCM]["shape"]) != [1, STEP]:
        yield f"wanted the shape [1, {STEP}] of the pcm of vad.step, found {found}"
    if "stream" in methods:
        positions = _by_role(methods["stream"]["outputs"])[nth(CROSS_KEYS, 0)]["shape"][2]
        chunk = (positions - methods["stream"]["look_ahead"]) * manifest["speech"]["samples_per_position"]
        found = _by_role(methods["stream"]["inputs"])[PCM]["shape"]
        if chunk < 1 or found != [1, chunk]:
            yield (
                f"wanted the shape [1, {chunk}] of the pcm of speech.stream, whose outputs have {positions} positions "
                f"with {methods['stream']['look_ahead']} of look-ahead, found {found}"
            )


def _by_role(tensors: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {tensor["role"]: tensor for tensor in tensors}


def _fixed(shape: Sequence[Any]) -> bool:
    return all(isinstance(size, int) for size in shape)
