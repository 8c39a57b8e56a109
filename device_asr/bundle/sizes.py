"""Sizes in a manifest that must be plausible, and must agree with one another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from device_asr.audio.format import SAMPLE_RATE
from device_asr.bundle.roles import (
    ALIGNMENT,
    CONSTANT,
    CROSS_KEYS,
    CTC,
    METHODS,
    PCM,
    POSITION,
    PROBABILITY,
    STATE,
    nth,
)
from device_asr.bundle.symbols import SYMBOLS
from device_asr.printable import short

MOST_ELEMENTS = 50_000_000  # of all states, caches and outputs: 200 MB; en-tiny has 2.0 million
LONGEST_S = 120.0  # seconds of an utterance; Whisper and Moonshine have 30
LONGEST_RETRY_S = 30.0  # seconds of silence behind an utterance that is decoded once more

Methods = Mapping[tuple[str, str], Mapping[str, Any]]


def problems(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Sizes that no model has, and sizes that differ where they are one; the manifest has the form of the schema."""
    methods = {
        (program, name): manifest["programs"][program]["methods"][name]
        for program, name in METHODS
        if name in manifest["programs"][program]["methods"]
    }
    yield from _memory_problems(methods)
    yield from _speech_problems(manifest["speech"])
    yield from _shape_problems(methods, manifest["speech"]["samples_per_position"])
    yield from _stream_problems(methods)
    yield from _constant_problems(methods, manifest["programs"])


def _memory_problems(methods: Methods) -> Iterator[str]:
    """More memory than the largest model takes; constants are mapped from their file, and have its size."""
    tensors = [tensor for method in methods.values() for kind in ("inputs", "outputs") for tensor in method[kind]]
    sizes = (math.prod(filter(_fixed, tensor["shape"])) for tensor in tensors if tensor["role"] != CONSTANT)
    if (total := sum(sizes)) > MOST_ELEMENTS:
        yield f"wanted at most {MOST_ELEMENTS} elements in all inputs and outputs together, found {total}"


def _speech_problems(speech: Mapping[str, Any]) -> Iterator[str]:
    seconds = speech["positions"] * speech["samples_per_position"] / SAMPLE_RATE
    if seconds > LONGEST_S:
        yield (
            f"wanted utterances of at most {LONGEST_S:.0f} s, found {speech['positions']} positions of "
            f"{speech['samples_per_position']} samples ({seconds:.0f} s)"
        )
    if speech["tokens_per_call"] > speech["cache"]:
        yield f"wanted at most {speech['cache']} (speech.cache) tokens_per_call, found {speech['tokens_per_call']}"
    if speech.get("retry_silence", 0) > LONGEST_RETRY_S:
        yield f"wanted at most {LONGEST_RETRY_S:.0f} s at speech.retry_silence, found {speech['retry_silence']}"


def _shape_problems(methods: Methods, samples: int) -> Iterator[str]:
    """Shapes that are not what their role says, or differ between a method that gives and one that takes."""
    wanted: dict[str, Sequence[Any]] = {
        POSITION: [1],
        PROBABILITY: [1, 1],
        PCM: [1, f"{samples} * positions"],
        CTC: ["positions", len(SYMBOLS) + 1],
        ALIGNMENT: ["heads", "tokens", "positions"],
    }
    seen: dict[str, tuple[str, Sequence[Any]]] = {}
    for (program, name), method in methods.items():
        for kind in ("inputs", "outputs"):
            for tensor in method[kind]:
                role, shape, where = tensor["role"], tensor["shape"], f"{tensor['name']!r} of {program}.{name}"
                if role in wanted and not _agree(shape, wanted[role]):
                    yield f"wanted the shape {_shown(wanted[role])} of {where}, found {short(shape)}"
                shared = role if not role.startswith(STATE) else f"{program}.{name}.{role}"
                if role in (CONSTANT, PCM):
                    continue
                other, earlier = seen.setdefault(shared, (where, shape))
                if not _agree(shape, earlier):
                    yield f"wanted the shape of {other} and {where} to agree, found {short(earlier)} and {short(shape)}"


def _stream_problems(methods: Methods) -> Iterator[str]:
    """A delay of more than a chunk: no position would ever have its audio, and every text would be empty."""
    stream = methods.get(("speech", "stream"))
    if stream is None:
        return
    by_role = {tensor["role"]: tensor["shape"] for tensor in (*stream["inputs"], *stream["outputs"])}
    chunk = by_role[PCM][-1]
    if stream["delay"] > chunk:
        yield f"wanted a delay of speech.stream of at most {chunk} samples, a chunk, found {stream['delay']}"
    if CTC in by_role and by_role[CTC][0] != by_role[nth(CROSS_KEYS, 0)][2]:
        yield (
            f"wanted {by_role[nth(CROSS_KEYS, 0)][2]} positions of the ctc of speech.stream, as of its cross_keys[0], "
            f"found {by_role[CTC][0]}"
        )


def _constant_problems(methods: Methods, programs: Mapping[str, Any]) -> Iterator[str]:
    """Constants of another shape or dtype than their place in the file says."""
    for (program, name), method in methods.items():
        for tensor in method["inputs"]:
            place = programs[program].get("constants", {}).get(tensor["name"])
            if tensor["role"] != CONSTANT or place is None:
                continue
            for key in ("shape", "dtype"):
                if tensor[key] != place[key]:
                    yield (
                        f"wanted the {key} {short(place[key])} of the constant {tensor['name']!r} of {program}.{name}, "
                        f"as in programs.{program}.constants, found {short(tensor[key])}"
                    )


def _agree(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether two shapes may be one: as many axes, and the same sizes wherever both have a whole number.

    A length that is a multiple of another ("320 * positions") agrees with the same text alone.
    """
    return len(one) == len(other) and all(
        a == b
        for a, b in zip(one, other, strict=True)
        if (_fixed(a) and _fixed(b)) or (not _fixed(a) and not _fixed(b) and "*" in f"{a}{b}")
    )


def _fixed(size: Any) -> bool:
    return isinstance(size, int)


def _shown(shape: Sequence[Any]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
