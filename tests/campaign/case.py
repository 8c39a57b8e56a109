"""A case: an input of the campaign as plain values, and how the product ended over it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.campaign.edits import Edit

HERE = "{here}"  # in arguments: the case's folder


@dataclass(frozen=True)
class Case:
    """One input.

    kind: see `tests.campaign.kinds`. program: a command of the product, or a reader of `tests.campaign.worker`.
    base: the files that are edited; empty: none. speaks: whether an exit status of 0 must come with something said.
    standard: what standard input is ("nothing" or a file of the case). env: of the child; its folders are the case's.
    """

    kind: str
    program: str
    arguments: tuple[str, ...]
    base: str = ""
    edits: tuple[Edit, ...] = ()
    speaks: bool = True
    standard: str = "nothing"
    env: Mapping[str, str] = field(default_factory=dict)

    def line(self) -> str:
        """One line of JSON, from which `read` makes the case again."""
        empty = Case("", "", ())
        values = {key: value for key, value in asdict(self).items() if value != getattr(empty, key)}
        return json.dumps(values)


def read(line: str) -> Case:
    """The case of a line."""
    values: dict[str, Any] = json.loads(line)
    values["arguments"], values["edits"] = tuple(values.get("arguments", ())), tuple(values.get("edits", ()))
    return Case(**values)


@dataclass(frozen=True)
class Ending:
    """How the product ended: exit code (negative: a signal), seconds, bytes, what it wrote.

    late: the time was up. lost: what was lost, in a few words; empty: nothing.
    """

    code: int
    late: bool
    cpu: float
    peak: int
    out: str
    err: str
    lost: str = ""


@dataclass(frozen=True)
class Limits:
    """What one input may take: bytes beyond the idle process, seconds of processor and of the wall, bytes of a file.

    idle: seconds of sleep after which it waits for ever, as for a pipe that nobody writes.
    """

    memory: int = 1 << 30
    cpu: int = 20
    wall: float = 120.0
    idle: float = 8.0
    file: int = 1 << 27
