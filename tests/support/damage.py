"""Damages programs and counts how a runtime takes it, each in a process of its own.

    python -m tests.support.damage RUNTIME PROGRAM.pte FIRST COUNT

It prints how many of the programs FIRST, FIRST + 1 ... of PROGRAM.pte, which `tests.support.tiny_programs` exports,
ended how, as JSON: "ran", "refused", the name of a signal, or "other" (an exception that is no sentence).
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import struct
import sys
import tempfile
from collections import Counter
from pathlib import Path

from device_asr.errors import BundleError
from device_asr.runtime.session import open_session, runtime
from tests.support.tiny_methods import METHODS, calls

WORDS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)  # what sizes and offsets are damaged to
MOST_MEMORY = 8 << 30  # bytes that a damaged program may ask for
SECONDS = 10  # that it may take
RAN, REFUSED, OTHER = 10, 11, 12  # exit codes


def damaged(program: bytes, seed: int) -> bytes:
    """The program with some bytes changed, or its end cut off.

    Half of the changes are in the program itself, half behind it: the delegate's graphs, names and weights.
    """
    chance = random.Random(seed)
    if chance.random() < 1 / 6:
        return program[: chance.randrange(len(program))]
    size, segments = struct.unpack_from("<QQ", program, 16)  # of the extended header
    first, end = (0, size) if chance.random() < 0.5 else (segments, len(program))
    changed = bytearray(program)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(first, end - 4)
        kind = chance.choice(("byte", "word", "zeros"))
        if kind == "byte":
            changed[at] = chance.randrange(256)
        elif kind == "word":
            struct.pack_into("<I", changed, at & ~3, chance.choice((*WORDS, chance.randrange(1024))))
        else:
            length = min(end - at, chance.choice((4, 16, 64)))
            changed[at : at + length] = bytes(length)
    return bytes(changed)


def attempt(path: Path) -> int:
    """Loads and runs a program; returns an exit code."""
    try:
        session = open_session(path, METHODS)
        for method, arrays in calls().items():
            session.run(method, *arrays)
    except BundleError:
        return REFUSED
    except Exception:
        return OTHER
    return RAN


def ending(path: Path) -> str:
    """How a process that loads and runs the program ends."""
    process = os.fork()
    if process == 0:
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        signal.alarm(SECONDS)
        os._exit(attempt(path))
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return {RAN: "ran", REFUSED: "refused"}.get(os.WEXITSTATUS(status), "other")


def main(name: str, program: str, first: int, count: int) -> None:
    """Prints how `count` damaged programs end."""
    os.environ["DEVICE_ASR_RUNTIME"] = name
    content, endings = Path(program).read_bytes(), Counter[str]()
    assert runtime().name == name
    open_session(Path(program), METHODS)  # the libraries are loaded before the forks
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "damaged.pte")
        for seed in range(first, first + count):
            path.write_bytes(damaged(content, seed))
            endings[ending(path)] += 1
    print(json.dumps(endings))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
