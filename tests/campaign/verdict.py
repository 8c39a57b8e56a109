"""What counts as a failure of the product over an input."""

from __future__ import annotations

import json
import re

from tests.campaign.case import Case, Ending

TRACEBACK = re.compile(r"Traceback \(most recent call last\)|Unexpected failure|Exception ignored|Fatal Python error")
MEMORY = re.compile(r"MemoryError|Unable to allocate|can't allocate memory|Cannot allocate memory|std::bad_alloc")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f]")
NOISE = ("Slow: ExecuTorch",)  # a line that every command may say


def failure(case: Case, ending: Ending) -> str | None:
    """The failure in a few words, equal for equal failures; None: the product did what it promises."""
    said = ending.out + ending.err
    if ending.lost:
        return ending.lost
    if ending.late:
        return "time limit: it did not end"
    if ending.code == -24:
        return "time limit: processor"
    if ending.code < 0:
        return f"signal {-ending.code}"
    if MEMORY.search(said):
        return f"memory limit: {_last(ending.err)}"
    if TRACEBACK.search(said):
        return f"traceback: {_last(ending.err)}"
    if ending.code and not ending.err.strip():
        return f"exit status {ending.code} and no sentence"
    if not ending.code and case.speaks and not said.strip():
        return "exit status 0 and nothing said"
    if control := CONTROL.search(said.replace("\r\n", "\n")):
        return f"control character {control[0]!r} written"
    if "jsonl" in case.arguments or "--json" in case.arguments:
        return _json(ending.out)
    return None


def _json(out: str) -> str | None:
    """Where a machine reads, every line or the whole is JSON."""
    try:
        json.loads(out or "null")
    except ValueError:
        for line in out.splitlines():
            try:
                json.loads(line)
            except ValueError:
                return "standard output is not JSON"
    return None


def _last(err: str) -> str:
    """The kind of failure, without what is special to the input."""
    lines = [line for line in err.strip().splitlines() if line.strip()] or [""]
    named = re.search(r"Unexpected failure \((\w+)", err)
    at = re.findall(r'File "[^"]*/((?:device_asr|compress)/[^"]*)", line (\d+)', err)
    where = f" in {at[-1][0]}:{at[-1][1]}" if at else ""
    return (named[1] if named else re.sub(r"[:(].*", "", lines[-1])[:60]) + where
