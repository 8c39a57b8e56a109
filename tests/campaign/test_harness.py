"""The harness: it notices every failure that it promises to, and makes the same inputs of the same seed."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

import pytest

from tests.campaign.case import HERE, Case, Ending, Limits, read
from tests.campaign.chance import Chance
from tests.campaign.edits import OPERATIONS, prepare, with_value
from tests.campaign.kinds import settings, sound
from tests.campaign.kinds.faults import shown
from tests.campaign.runner import Runner
from tests.campaign.verdict import failure

CASE = Case("settings", "device-asr", ("config",))
BAD = """
import os, signal, sys, time
def main():
    what = sys.argv[1]
    if what == "traceback":
        raise KeyError("x")
    if what == "memory":
        bytearray(1 << 33)
    if what == "signal":
        os.kill(os.getpid(), signal.SIGSEGV)
    while what == "spin":
        pass
    while what == "wait":
        time.sleep(100)
    if what == "mute":
        sys.exit(1)
    if what == "control":
        print("\\x1b[2J")
    if what == "well":
        print("wanted x, found y", file=sys.stderr)
        sys.exit(2)
"""


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (Ending(1, False, 0, 0, "", "Traceback (most recent call last):\nKeyError: 1"), "traceback: KeyError"),
        (Ending(1, False, 0, 0, "", "device-asr: Unexpected failure (MemoryError: )."), "memory limit"),
        (Ending(-11, False, 0, 0, "", ""), "signal 11"),
        (Ending(-24, False, 0, 0, "", ""), "time limit"),
        (Ending(-9, True, 0, 0, "", ""), "time limit"),
        (Ending(1, False, 0, 0, "text", ""), "no sentence"),
        (Ending(0, False, 0, 0, "", " \n"), "nothing said"),
        (Ending(0, False, 0, 0, "\x1b[31m", ""), "control character"),
        (Ending(0, False, 0, 0, "text", "", "1 final lost"), "1 final lost"),
        (Ending(2, False, 0, 0, "", "wanted x, found y"), None),
        (Ending(0, False, 0, 0, "text", ""), None),
    ],
)
def test_each_kind_of_failure_has_its_words(ending: Ending, words: str | None) -> None:
    found = failure(CASE, ending)
    assert (found is None) if words is None else (found is not None and words in found)


def test_what_a_machine_reads_must_be_json() -> None:
    case = Case("sound", "device-asr", ("transcribe", "x", "--format", "jsonl"))
    assert failure(case, Ending(0, False, 0, 0, '{"a": 1}\n{"a": 2}\n', "")) is None
    assert failure(case, Ending(0, False, 0, 0, ' sds: 16 bits\n{"a": 1}\n', "")) == "standard output is not JSON"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of processes are Linux's")
def test_a_product_that_fails_in_every_way_is_caught(tmp_path: Path) -> None:
    """A product of a few lines in place of device_asr: a tracked failure for each way, and none for a sentence."""
    for name in ("cli", *(f"commands.{verb}" for verb in ("bench", "config", "history", "models", "transcribe"))):
        path = (tmp_path / "product" / "device_asr" / name.replace(".", "/")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(BAD if name == "cli" else "")
    for name in ("recognition.assemble", "audio.file", "audio.stdin", "dictation.history", "runtime.choice"):
        path = (tmp_path / "product" / "device_asr" / name.replace(".", "/")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("def runtime(): pass\n")
    for folder in ("", "commands", "recognition", "audio", "dictation", "runtime"):
        (tmp_path / "product" / "device_asr" / folder / "__init__.py").write_text("")
    limits = Limits(memory=1 << 30, cpu=1, wall=60.0, idle=2.0)
    found = {}
    with Runner(tmp_path, tmp_path / "scratch", tmp_path / "product", limits) as runner:
        for what in ("traceback", "memory", "signal", "spin", "wait", "mute", "control", "silent", "well"):
            case = Case("x", "device-asr", (what,))
            found[what] = failure(case, runner.run(case))
    assert found.pop("well") is None
    assert found == {
        "traceback": "traceback: KeyError in device_asr/cli.py:6",
        "memory": "memory limit: MemoryError in device_asr/cli.py:8",
        "signal": "signal 11",
        "spin": "time limit: processor",
        "wait": "time limit: it did not end",
        "mute": "exit status 1 and no sentence",
        "control": "control character '\\x1b' written",
        "silent": "exit status 0 and nothing said",
    }
    assert not list((tmp_path / "scratch").iterdir())


def test_the_same_seed_makes_the_same_cases_and_a_line_makes_a_case_again(tmp_path: Path) -> None:
    settings.prepare(tmp_path)
    sound.prepare(tmp_path)
    for kind in (settings, sound):
        first = [kind.draw(Chance(3, "x", number), tmp_path) for number in range(30)]
        assert first == [kind.draw(Chance(3, "x", number), tmp_path) for number in range(30)]
        assert len({case.line() for case in first}) > 20
        assert [json.loads(read(case.line()).line()) for case in first] == [json.loads(case.line()) for case in first]


def test_a_json_value_may_be_anything() -> None:
    document = {"a": [1, {"b": 2}]}
    assert with_value(document, ["a", 1, "b"], "1e999") == '{"a": [1, {"b": 1e999}]}'
    assert with_value(document, ["a", 0], {"repeat": "[", "times": 3}) == '{"a": [[[[, {"b": 2}]}'
    assert with_value(document, ["a", 1, "b"], None) == '{"a": [1, {}]}'
    assert with_value(document, ["c"], '"x"') == '{"a": [1, {"b": 2}], "c": "x"}'


def test_the_header_of_tensors_is_edited_in_place() -> None:
    header = json.dumps({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    data = struct.pack("<Q", len(header)) + header + bytes(4)
    changed = OPERATIONS["header"](data, ["x", "shape"], "[1e9]")
    size = struct.unpack_from("<Q", changed)[0]
    assert json.loads(changed[8 : 8 + size])["x"]["shape"] == [1e9] and changed[8 + size :] == bytes(4)


def test_files_without_an_edit_are_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "base" / name).write_bytes(b"0123456789")
    prepare(tmp_path / "base", [["a", "cut", 3], ["a", "bytes", 1, "ffff"], ["b", "fifo"]], tmp_path / HERE)
    assert (tmp_path / HERE / "a").read_bytes() == b"0\xff\xff" and (tmp_path / HERE / "b").is_fifo()
    assert (tmp_path / HERE / "c").stat().st_ino == (tmp_path / "base" / "c").stat().st_ino
    assert (tmp_path / "base" / "a").read_bytes() == b"0123456789"


def test_the_last_utterance_on_a_screen_may_still_be_a_partial() -> None:
    screen = "● listening   │ RTF 0.1\nFirst the    │\nplumber. Second │ words 3\nthe rent.   │"
    assert shown(screen, ["Firsttheplumber.", "Secondtherent.", "Third."]) == ["Firsttheplumber."]
