"""Holds which module may import which, over the syntax trees of both packages."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from graphlib import CycleError, TopologicalSorter

from tests.support.paths import ROOT

# a room imports itself and the rooms of later lines; those of one line, a module each, import one another freely
ROOMS = {
    "device_asr": [
        "cli commands",
        "server",
        "doctor",
        "bench",
        "tui",
        "dictation",
        "recognition",
        "hotwords",
        "text",
        "decoding",
        "bundle",
        "runtime",
        "audio",
        "metrics",
        "writers",
        "child config events errors files bounded printable console",
    ],
    "compress": [
        "cli commands",
        "deploy",
        "report",
        "search",
        "recipe",
        "distill",
        "evaluate",
        "export",
        "prune",
        "checkpoints",
        "quantize",
        "lowrank",
        "data",
        "networks",
        "settings tables paths",
    ],
}
CLOSED = {(room, low) for room in ("tui", "server") for low in ("recognition", "decoding", "runtime")}
OPEN_TO_COMPRESS = (
    r"errors|events|files|bounded|printable|console|config|bundle|metrics|bench|audio\.format|runtime\.session"
)
EXTRA_IS_CALLED_COMPRESS = {"device_asr.bench.peers.faster_whisper"}  # it tells people which extra to install
MOST_LINES, MOST_FILES = 320, 16  # of a file; of a room
VOCABULARY_OF_16000 = {"compress.cli", "compress.commands.vocabulary", "compress.search.space"}


@cache
def trees() -> dict[str, ast.Module]:
    """Module name -> its syntax tree."""
    files = [path.relative_to(ROOT) for package in ROOMS for path in sorted((ROOT / package).rglob("*.py"))]
    return {
        ".".join(path.with_suffix("").parts).removesuffix(".__init__"): ast.parse((ROOT / path).read_bytes(), str(path))
        for path in files
    }


@cache
def imports() -> list[tuple[str, str]]:
    """(module, module that it imports) of both packages: at the top, in functions and for types alike."""
    found = set()
    for name, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {(name, alias.name) for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0 and node.module, f"{name}: relative import in line {node.lineno}"
                members = [f"{node.module}.{alias.name}" for alias in node.names]
                found |= {(name, member if member in trees() else node.module) for member in members}
    return sorted((name, target) for name, target in found if target.split(".")[0] in ROOMS and target != name)


def constants(name: str) -> list[object]:
    return [node.value for node in ast.walk(trees()[name]) if isinstance(node, ast.Constant)]


def line(name: str) -> int:
    """The line of `ROOMS` in which the room of a module stands."""
    package, room = name.split(".")[:2]
    found = [at for at, rooms in enumerate(ROOMS[package]) if room in rooms.split()]
    assert found, f"{name}: no line of ROOMS names {room!r}"
    return found[0]


def none(found: Iterable[tuple[str, object]]) -> None:
    lines = [f"{name} -> {target}" for name, target in found]
    assert not lines, "\n".join(lines)


def test_no_modules_import_one_another_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for name, target in imports():
        graph.setdefault(name, set()).add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" imported by ".join(error.args[1])) from None


def test_a_room_imports_only_the_rooms_below_it() -> None:
    inside = [pair for pair in imports() if pair[0].split(".")[0] == pair[1].split(".")[0] and "." in pair[1]]
    none((name, target) for name, target in inside if line(name) > line(target))
    none((name, target) for name, target in inside if (name.split(".")[1], target.split(".")[1]) in CLOSED)


def test_a_family_of_networks_imports_only_what_families_share() -> None:
    families = {path.parent.name for path in (ROOT / "compress/networks").glob("*/__init__.py")}
    for name, target in imports():
        _, room, family, *_ = [*name.split("."), "", ""]
        if room == "networks" and family in families and target.startswith("compress."):
            _, below, shared, *_ = [*target.split("."), ""]
            if below == "networks":
                assert shared == family or shared not in families, f"{name} -> {target}"
            else:
                assert below in ROOMS["compress"][-1].split(), f"{name} -> {target}"


def test_the_runtime_never_reaches_the_offline_stage() -> None:
    none((name, target) for name, target in imports() if (name[0], target[0]) == ("d", "c"))
    for name in trees():  # by the name of a module or of the command, as for a child process
        if name.startswith("device_asr") and name not in EXTRA_IS_CALLED_COMPRESS:
            none(
                (name, text)
                for text in constants(name)
                if re.fullmatch(r"compress(\.\w+)*|device-asr-compress", f"{text}")
            )


def test_the_offline_stage_sees_only_these_parts_of_the_runtime() -> None:
    allowed = re.compile(rf"device_asr(\.({OPEN_TO_COMPRESS})(\..*)?)?")
    none(
        (name, target)
        for name, target in imports()
        if (name[0], target[0]) == ("c", "d") and not allowed.fullmatch(target)
    )


def test_the_sample_rate_is_written_once() -> None:
    where = {name for name in trees() if 16_000 in constants(name)}
    assert where - VOCABULARY_OF_16000 == {"device_asr.audio.format"}


def test_files_and_rooms_stay_small() -> None:
    files = [path.relative_to(ROOT) for package in ROOMS for path in (ROOT / package).rglob("*.py")]
    none((str(path), lines) for path in files if (lines := (ROOT / path).read_bytes().count(b"\n")) > MOST_LINES)
    rooms = Counter(str(path.parent) for path in files if path.name != "__init__.py")
    none((room, count) for room, count in rooms.items() if count > MOST_FILES)
