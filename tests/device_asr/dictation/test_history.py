"""Sessions on disk: text survives a kill, edits come after, audio can be kept."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from device_asr.audio.format import SAMPLE_RATE
from device_asr.commands import history
from device_asr.dictation.history import delete, find, list_sessions, load
from device_asr.dictation.session_writer import SessionWriter
from device_asr.errors import OutputError, UsageError
from tests.support.finals import final
from tests.support.paths import ROOT

KILLED = """
import os, signal, sys
import numpy as np
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.support.finals import final
from device_asr.dictation.session_writer import SessionWriter
writer = SessionWriter(Path(sys.argv[1]), record=True)
for n in range(20):
    writer.audio(np.full(8000, 0.1, np.float32))
    writer.final(final(f"Utterance {{n}}.", n, n + 0.5, n))
writer.edit(3, "Edited.")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_every_final_and_edit_is_there_after_kill_9(tmp_path: Path) -> None:
    program = KILLED.format(root=str(ROOT))
    result = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, timeout=60)
    assert result.returncode == -signal.SIGKILL, result.stderr.decode()
    session = find(tmp_path, "last")
    texts = [line.text for line in session.lines]
    assert texts == [f"Utterance {n}." if n != 3 else "Edited." for n in range(20)]
    assert session.recording is not None
    with wave.open(str(session.recording)) as audio:
        assert audio.getnframes() >= 9 * SAMPLE_RATE, "at most the last second of ten is missing"


def run(folder: Path, *arguments: str) -> Result:
    """`device-asr history` over the sessions of `folder`."""
    return CliRunner().invoke(history.command, [*arguments, "--set", f"session.folder={folder}"])


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "final", "text": "To',
        '{"event": "final"}',
        "[]",
        "7",
        '{"event": "edit", "line": 5, "text": "No such line."}',
        "\udcff",
    ],
)
def test_a_torn_or_foreign_line_is_left_out_and_reported(tmp_path: Path, line: str) -> None:
    writer = SessionWriter(tmp_path)
    writer.final(final("Whole.", 0, 1))
    writer.close()
    with writer.path.open("ab") as file:
        file.write(line.encode("utf-8", "surrogateescape"))
    found = load(writer.path)
    assert ([one.text for one in found.lines], found.damaged) == (["Whole."], 1)
    for arguments in (["show", "last"], ["export", "last", "--format", "txt"]):
        done = run(tmp_path, *arguments)
        assert (done.exit_code, done.stdout) == (0, "Whole.\n")
        assert "1 damaged line left out" in done.stderr and str(writer.path) in done.stderr
    assert json.loads(run(tmp_path, "list", "--json").stdout)["damaged"] == 1


def test_a_record_of_a_newer_version_is_no_damage(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path)
    writer.final(final("Whole.", 0, 1))
    writer.close()
    with writer.path.open("a") as file:
        file.write('{"event": "translation", "text": "Ganz."}\n')
    assert (len(load(writer.path).lines), load(writer.path).damaged) == (1, 0)


def test_a_session_begun_later_counts_its_times_from_there(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path, offset=10.0)
    own = writer.final(final("Later on.", 12, 13))
    assert (own.start, own.end, own.words[0].start) == (2.0, 3.0, 2.0)
    assert load(writer.path).lines[0].final == own


def test_where_a_utterance_was_cut_short_is_kept_for_the_replay(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path)
    writer.final(final("One.", 0, 1))
    writer.final(final("Two.", 2, 3), cut_short=True)
    assert load(writer.path).cuts == (3.6,)


def test_an_empty_session_leaves_nothing_and_a_recording_keeps_it(tmp_path: Path) -> None:
    SessionWriter(tmp_path).close()
    assert list_sessions(tmp_path) == []
    writer = SessionWriter(tmp_path, record=True)
    writer.audio(np.array([0.5, -0.5, 1.0], np.float32))
    writer.close()
    writer.close()
    with wave.open(str(writer.path.with_suffix(".wav"))) as audio:
        assert np.frombuffer(audio.readframes(9), "<i2").tolist() == [16384, -16384, 32767]
    if os.name == "posix":
        modes = {path.suffix: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        assert modes == {".jsonl": 0o600, ".wav": 0o600}, "nobody else can read it"


def test_sessions_of_the_same_second_do_not_meet_and_are_found_by_their_beginning(tmp_path: Path) -> None:
    first, second = SessionWriter(tmp_path), SessionWriter(tmp_path)
    assert first.path != second.path
    assert find(tmp_path, second.id).id == second.id
    with pytest.raises(UsageError, match=f"found none.*the nearest is '{second.id}'"):
        find(tmp_path, second.id.replace("-", "."))
    with pytest.raises(UsageError, match="the nearest is 'last'"):
        find(tmp_path, "latest")
    with pytest.raises(UsageError, match="found 2"):
        find(tmp_path, "2")
    first.close()
    second.final(final("Kept.", 0, 1))
    second.close()
    assert [s.id for s in list_sessions(tmp_path)] == [second.id], "the first has no text"
    third = SessionWriter(tmp_path)
    third.final(final("Deleted.", 0, 1))
    with pytest.raises(OutputError, match="is being dictated now"):
        delete(find(tmp_path, third.id))
    third.close()
    with pytest.raises(OutputError, match="has ended"):
        third.final(final("Too late.", 2, 3))
    delete(find(tmp_path, third.id))
    assert [s.id for s in list_sessions(tmp_path)] == [second.id]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"session\.folder"):
        SessionWriter(tmp_path / "file" / "sessions")


def test_before_the_first_session_history_says_so_and_every_verb_fails_clearly(tmp_path: Path) -> None:
    done = run(tmp_path, "list")
    assert (done.exit_code, done.stdout) == (0, "") and f"No session is kept in {tmp_path} yet." in done.stderr
    with pytest.raises(UsageError, match="none is kept in"):
        find(tmp_path, "last")


def test_deleting_asks_and_removes_text_and_audio(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path, record=True)
    writer.audio(np.zeros(1600, np.float32))
    writer.final(final("Three words here.", 0, 1))
    writer.close()
    assert (
        CliRunner()
        .invoke(history.command, ["delete", "last", "--set", f"session.folder={tmp_path}"], input="n\n")
        .exit_code
        == 1
    )
    assert len(list(tmp_path.iterdir())) == 2
    assert run(tmp_path, "delete", "last", "--yes").exit_code == 0
    assert list(tmp_path.iterdir()) == []


def test_an_export_is_in_the_format_that_the_file_ends_with(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path)
    writer.final(final("Whole.", 0, 1))
    writer.close()
    exported = {}
    for name, *more in (("a.vtt",), ("a.SRT",), ("a.txt",), ("a",), ("a.text", "--format", "vtt")):
        assert run(tmp_path, "export", "last", "-o", str(tmp_path / name), *more).exit_code == 0
        exported[name] = (tmp_path / name).read_text().split("\n")[0]
    assert exported == {"a.vtt": "WEBVTT", "a.SRT": "1", "a.txt": "Whole.", "a": "Whole.", "a.text": "WEBVTT"}
    assert run(tmp_path, "export", "last").stdout == "Whole.\n"


def test_an_export_into_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path)
    writer.final(final("Whole.", 0, 1))
    writer.close()
    target = tmp_path / "absent" / "letter.srt"
    done = run(tmp_path, "export", "last", "--format", "srt", "-o", str(target))
    assert isinstance(done.exception, OutputError) and str(target) in str(done.exception)
