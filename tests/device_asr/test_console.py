"""Every verb of both commands meets a closed, full or broken standard output alike, and prints by one door."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from device_asr import console
from device_asr.audio.devices import silenced_libraries
from device_asr.commands.parts.progress import progress_bars
from device_asr.console import READER_LEFT, echo
from device_asr.errors import OutputError, UsageError
from tests.support.paths import ASSETS, ROOT

TIMER = str(ASSETS / "timer.flac")
VERBS = {  # those that print without a microphone, at once; a verb prints by `console.echo` or `Output`, see below
    "config": ["device_asr.cli", "config"],
    "config --json": ["device_asr.cli", "config", "--json"],
    "models list": ["device_asr.cli", "models", "list"],
    "models show": ["device_asr.cli", "models", "show", "en-tiny", "--json"],
    "transcribe": ["device_asr.cli", "transcribe", TIMER, TIMER],
    "transcribe --format jsonl": ["device_asr.cli", "transcribe", TIMER, "--format", "jsonl"],
    "help": ["device_asr.cli", "--help"],
    "version": ["device_asr.cli", "--version"],
    "compress help": ["compress.cli", "--help"],
    "compress profile": ["compress.cli", "profile"],
}


def run(arguments: list[str], **streams: object) -> subprocess.CompletedProcess[str]:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [sys.executable, "-m", *arguments], stderr=subprocess.PIPE, text=True, timeout=120, **streams
    )
    return done


@pytest.mark.parametrize("verb", VERBS)
def test_a_reader_that_has_enough_ends_a_verb_quietly(verb: str) -> None:
    """As behind `| head -1`, where the reader has left before the first line."""
    reader, writer = os.pipe()
    os.close(reader)
    done = run(VERBS[verb], stdout=writer)
    os.close(writer)
    said = [line for line in done.stderr.splitlines() if not line.startswith("Looked for in")]
    assert (done.returncode, said) == (READER_LEFT, [])


@pytest.mark.parametrize("verb", VERBS)
def test_a_closed_standard_output_is_one_sentence(verb: str) -> None:
    done = run(VERBS[verb], preexec_fn=lambda: os.close(1))
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert ": standard output is closed (>&-); wanted a terminal, a file or a pipe there" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("verb", ["config", "transcribe", "version", "compress profile"])
def test_a_full_standard_output_is_one_sentence(verb: str) -> None:
    with open("/dev/full", "w") as full:
        done = run(VERBS[verb], stdout=full)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "standard output: " in done.stderr


def test_a_file_is_written_though_standard_output_is_closed(tmp_path: Path) -> None:
    out = tmp_path / "a.txt"
    done = run(["device_asr.cli", "transcribe", TIMER, "--out", str(out)], preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (0, "") and "timer" in out.read_text()


def test_text_that_another_program_gets_needs_no_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    console.require_output()
    assert console.output_or_nothing() is out
    monkeypatch.setattr(sys, "stdout", console.ClosedOutput())
    with console.output_or_nothing() as nothing:
        nothing.write("text")
    with pytest.raises(OutputError, match="standard output is closed"):
        console.require_output()


def test_messages_do_not_go_into_the_text_where_standard_error_is_closed(tmp_path: Path) -> None:
    """Python's `print` would write them to standard output."""
    done = run(["device_asr.cli", "transcribe", "none.wav"], stdout=subprocess.PIPE, preexec_fn=lambda: os.close(2))
    assert (done.returncode, done.stdout) == (1, "")


def test_what_a_command_raises_is_a_sentence_and_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> int:
        raise UsageError("Wanted a,\nfound \x1b[31m.")

    def breaks() -> int:
        raise RuntimeError("b")

    assert console.run("x", fails) == 2
    assert capsys.readouterr().err == "x: Wanted a,\\nfound \\x1b[31m.\n"
    assert console.run("x", breaks, lambda error: f"Unexpected {error}.") == 1
    assert capsys.readouterr().err == "x: Unexpected b.\n"
    with pytest.raises(RuntimeError):
        console.run("x", breaks)
    assert console.run("x", lambda: 5) == 5


# -- the door ----------------------------------------------------------------------------------------------


def test_the_door_lets_no_control_character_through(capsys: pytest.CaptureFixture[str]) -> None:
    echo("name\x1b]0;title\x07\ta\nb\x9b")
    echo("\r\x08", err=True)
    assert capsys.readouterr() == ("name\\x1b]0;title\\x07\ta\nb\\u009b\n", "\\r\\x08\n")


@given(st.text(st.characters(exclude_categories=["Cs"])))
@example("".join(map(chr, range(0x300))) + "\u2028\u202e\udcff")
def test_json_stays_json_behind_the_door(text: str) -> None:
    out = io.StringIO()
    echo(json.dumps({text: [text]}, ensure_ascii=False, indent=2), file=out)
    assert json.loads(out.getvalue()) == {text: [text]}


PAST = ("print", "click.echo", "click.secho", "click.FloatRange")  # the last one takes NaN


def printing(path: Path) -> Iterator[str]:
    """The calls of a module that print past the door, or take numbers of an option that are none."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in PAST or name.endswith(("stdout.write", "stderr.write")):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {name}"


def test_no_verb_prints_past_the_door() -> None:
    """Output writes the texts of events, which are clean, and `terminal` a line that it draws over."""
    rooms = [ROOT / "device_asr" / "commands", ROOT / "compress" / "commands"]
    files = [path for room in rooms for path in room.rglob("*.py")] + [
        ROOT / "device_asr/cli.py",
        ROOT / "compress/cli.py",
    ]
    found = [call for path in files for call in printing(path)]
    allowed = ("device_asr/commands/parts/output.py", "compress/commands/terminal.py")
    assert [call for call in found if not call.startswith(allowed)] == []


def test_a_description_of_a_bar_is_no_markup_and_has_no_controls() -> None:
    bars = progress_bars()
    task = bars.add_task("[/b]\x1b[2J.wav", total=1)
    shown = bars.columns[0].render(bars.tasks[task])  # type: ignore[union-attr]
    assert str(shown) == "[/b]\\x1b[2J.wav"


# -- libraries ----------------------------------------------------------------------------------------------


def test_what_a_library_prints_goes_nowhere_and_our_text_stays(capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "import os, sys\n"
        "from device_asr.audio.devices import silenced_libraries\n"
        "with silenced_libraries(output=True):\n"
        "    os.write(1, b'chatter'); os.write(2, b'chatter'); print('text'); print('note', file=sys.stderr)\n"
        "print('after'); os.write(1, b'kept\\n')\n"
    )
    done = subprocess.run([sys.executable, "-u", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("text\nafter\nkept\n", "note\n")
    with silenced_libraries():
        os.write(1, b"a program's text")
    assert "a program's text" in capfd.readouterr().out, "as of --exec"


def test_a_damaged_sds_file_adds_nothing_to_json(tmp_path: Path) -> None:
    """libsndfile prints `Error A : DE` on standard output for it."""
    import numpy as np
    import soundfile

    path = tmp_path / "a.sds"
    soundfile.write(path, 0.3 * np.sin(np.arange(16_000) / 10), 16_000, format="SDS", subtype="PCM_16")
    data = bytearray(path.read_bytes())
    for at in range(21, 21 + 127 * 8, 127):  # the first byte of each packet of audio
        data[at] ^= 0x7F
    path.write_bytes(data)
    code = "import sys, soundfile\ntry: soundfile.read(sys.argv[1])\nexcept RuntimeError: pass"
    chatter = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert "Error A" in chatter.stdout, "what is silenced is still there"
    done = run(["device_asr.cli", "transcribe", str(path), "--format", "jsonl"], stdout=subprocess.PIPE)
    assert "Error A" not in done.stdout + done.stderr
