"""Sessions on disk: text survives a kill, edits come after, audio can be kept."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import wave
from datetime import datetime, tzinfo
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner, Result

from device_asr.audio.format import SAMPLE_RATE
from device_asr.audio.recording import LONGEST, RESERVE, Recording
from device_asr.commands import history
from device_asr.commands.parts.output import Output
from device_asr.dictation import session_writer
from device_asr.dictation.history import LARGEST, delete, find, list_sessions, load
from device_asr.dictation.session_writer import SessionWriter
from device_asr.dictation.transcript import Transcript, save
from device_asr.errors import OutputError, UsageError
from device_asr.events import Partial, to_record
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
        '{"event": "edit", "line": 0, "text": 5}',
        '{"event": "edit", "line": true, "text": "Odd."}',
        '{"event": "session", "started": 5}',
        '{"event": "partial", "utterance": 1, "text": ["To"], "start": 0, "end": 1, "time": 1}',
        '{"event": ["final"], "text": "To"}x',
        "[" * 100_000,
        "9" * 100_000,
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


WRONG = {
    "utterance": ["1", 1.5, None, True, 10**400],
    "text": [5, None, [], {"a": 1}],
    "start": ["0", None, True, float("nan"), float("inf"), -(10**400), []],
    "words": [5, None, "two words", [5], [{"text": "a"}], [{"text": 5, "start": 0, "end": 1, "confidence": 1}], {}],
    "confidence": [None, "1"],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_a_value_of_a_wrong_type_is_a_damaged_line_and_reaches_no_verb(tmp_path: Path, key: str, value: object) -> None:
    writer = SessionWriter(tmp_path)
    writer.final(final("Whole.", 0, 1))
    writer.close()
    with writer.path.open("a") as file:
        file.write(json.dumps({**to_record(final("Odd.", 2, 3)), key: value}) + "\n")
    assert ([line.text for line in load(writer.path).lines], load(writer.path).damaged) == (["Whole."], 1)


def bad(path: Path, kind: str) -> None:
    """Something at `path` that is no session."""
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "dangling":
        path.symlink_to(path.parent / "absent")
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path.symlink_to("/dev/zero")


@pytest.mark.parametrize("kind", ["folder", "pipe", "dangling", "loop", "device"])
def test_a_bad_session_is_named_and_the_others_are_shown(tmp_path: Path, kind: str) -> None:
    writer = SessionWriter(tmp_path)
    writer.final(final("Whole.", 0, 1))
    writer.close()
    bad(tmp_path / "x.jsonl", kind)
    for arguments in (["list"], ["list", "--json"]):
        done = run(tmp_path, *arguments)
        assert "Whole." in done.stdout and done.stdout.count("\n") == 1
        assert done.stderr.count("\n") == 1 and str(tmp_path / "x.jsonl") in done.stderr
    assert run(tmp_path, "show", "last").stdout == "Whole.\n", "no session bears such a name"
    for arguments in (["show", "x"], ["export", "x"], ["delete", "x", "--yes"]):
        failed = run(tmp_path, *arguments).exception
        assert isinstance(failed, UsageError) and str(tmp_path / "x.jsonl") in str(failed)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_session_that_is_too_large_to_be_one_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "x.jsonl").open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(UsageError, match="wanted at most 256 MB"):
        load(tmp_path / "x.jsonl")


@pytest.mark.parametrize("cut", [1, 20, 60, -1])
def test_a_record_that_is_glued_to_a_torn_one_is_read(tmp_path: Path, cut: int) -> None:
    """Version 0.1 wrote so after a full disk."""
    records = [
        json.dumps(to_record(final(text, n, n + 1, n))) for n, text in enumerate(['A "{quoted}" one.', "Lost.", "Two."])
    ]
    (tmp_path / "x.jsonl").write_text(f"{records[0]}\n{records[1][:cut]}{records[2]}\n")
    found = load(tmp_path / "x.jsonl")
    assert ([line.text for line in found.lines], found.damaged) == (['A "{quoted}" one.', "Two."], 1)


def partial(text: str, utterance: int = 0) -> Partial:
    return Partial(utterance, text, "", 1.0, 2.0, 2.0)


def test_the_utterance_in_progress_is_kept_until_its_final_and_marked_as_unfinished(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path, offset=1.0, interval=0.0)

    def texts() -> tuple[list[str], bool]:
        found = load(writer.path)
        assert not found.damaged
        return [line.text for line in found.lines], found.unfinished

    writer.partial(partial("What"))
    writer.partial(partial("What is"))
    assert texts() == (["What is"], True)
    assert load(writer.path).lines[0].final.start == 0.0, "times count from the beginning of the session"
    assert "no final yet" in run(tmp_path, "show", "last").stderr
    writer.final(final("What is it?", 1, 2))
    assert texts() == (["What is it?"], False)
    writer.partial(partial("Uh", 1))
    writer.taken_back()
    assert texts() == (["What is it?"], False), "an utterance without text was taken back"
    writer.partial(partial("An", 2))
    writer.edit(0, "What was it?")
    assert texts() == (["What was it?", "An"], True)
    writer.close()
    assert texts() == (["What was it?", "An"], True), "the session was ended at once"


def test_a_session_with_nothing_but_text_that_was_taken_back_leaves_no_file(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path)
    writer.partial(partial("Uh"))
    writer.taken_back()
    writer.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wanted", ["", " ", "\t"])
def test_an_empty_name_is_no_session(tmp_path: Path, wanted: str) -> None:
    writer = SessionWriter(tmp_path)
    writer.final(final("Whole.", 0, 1))
    writer.close()
    for verb in ("show", "export", "delete"):
        done = run(tmp_path, verb, wanted, *(["--yes"] if verb == "delete" else []))
        assert isinstance(done.exception, UsageError) and "found an empty text" in str(done.exception)
    assert len(list_sessions(tmp_path)) == 1


def begin(folder: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> str:
    """The id of a session that begins when the clock shows `at`."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.fromisoformat(f"2026-10-{at}")

    monkeypatch.setattr(session_writer, "datetime", Clock)
    writer = SessionWriter(folder)
    writer.final(final(at, 0, 1))
    writer.close()
    return writer.id


def test_the_order_is_that_of_the_sessions_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "zebra.jsonl").write_text("")
    times = [
        "25T01:00:00",
        "25T02:59:58",
        "25T02:00:00",
        *["25T02:00:01"] * 11,
        "25T02:58:00",
        "20T08:00:00",
        "26T00:00",
    ]
    ids = []
    for time in times:
        ids.append(begin(tmp_path, monkeypatch, time))
        assert find(tmp_path, "last").id == ids[-1]
    assert [session.id for session in list_sessions(tmp_path)] == ["zebra", *ids]
    assert ids[1:4] == ["2026-10-25_02-59-58", "2026-10-25_02-00-00_back1", "2026-10-25_02-00-01_back1"]
    assert ids[13] == "2026-10-25_02-00-01_back1_11" and ids[-2:] == [
        "2026-10-20_08-00-00_back2",
        "2026-10-26_00-00-00_back2",
    ]


@pytest.mark.parametrize("planted", ["link", "file", "folder"])
def test_what_bears_the_name_of_a_recording_is_never_written_to(
    tmp_path: Path, planted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    wav = tmp_path / "2026-10-01_00-00-00.wav"
    if planted == "link":
        wav.symlink_to(precious)
    elif planted == "file":
        wav.write_text("precious")
    else:
        wav.mkdir()
    (tmp_path / "2026-10-01_00-00-00_2.jsonl").symlink_to(precious)
    monkeypatch.setattr(session_writer, "datetime", FirstOfOctober)
    writer = SessionWriter(tmp_path, record=True)
    writer.audio(np.zeros(16, np.float32))
    writer.close()
    assert writer.id == "2026-10-01_00-00-00_3" and load(writer.path).recording is not None
    assert precious.read_text() == "precious" and (planted != "file" or wav.read_text() == "precious")


class FirstOfOctober(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime(2026, 10, 1)


def test_twenty_instances_in_one_folder_write_twenty_sessions(tmp_path: Path) -> None:
    def dictate(number: int) -> None:
        writer = SessionWriter(tmp_path, record=True)
        for n in range(5):
            writer.final(final(f"{number} {n}", n, n + 1, n))
        writer.close()

    threads = [threading.Thread(target=dictate, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [[line.text for line in session.lines] for session in list_sessions(tmp_path)]
    assert sorted(found) == sorted([f"{number} {n}" for n in range(5)] for number in range(20))
    assert len(list(tmp_path.glob("*.wav"))) == 20


def test_a_recording_leaves_the_last_of_a_disk_to_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = RESERVE + 40_000
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    writer = SessionWriter(tmp_path, record=True)
    writer.audio(np.full(SAMPLE_RATE, 0.5, np.float32))
    free -= 32_000
    with pytest.raises(OutputError, match=r"Recording has stopped: the last 16 MB .* for the text"):
        writer.audio(np.full(SAMPLE_RATE, 0.5, np.float32))
    writer.audio(np.full(SAMPLE_RATE, 0.5, np.float32))
    writer.final(final("Whole.", 0, 1))
    assert writer.close()
    found = load(writer.path)
    assert [line.text for line in found.lines] == ["Whole."] and found.recording is not None
    with wave.open(str(found.recording)) as audio:
        assert audio.getnframes() == SAMPLE_RATE


def test_a_recording_is_never_longer_than_its_header_can_say(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "a.wav")
    recording._written = LONGEST - 10
    with pytest.raises(OSError, match="37 hours"):
        recording.write(np.zeros(SAMPLE_RATE, np.float32))


@pytest.mark.parametrize(("private", "modes"), [(True, {0o700, 0o600}), (False, {0o755, 0o644})])
def test_folder_text_and_audio_are_their_owners_unless_told_otherwise(
    tmp_path: Path, private: bool, modes: set[int]
) -> None:
    before = os.umask(0o022)
    try:
        writer = SessionWriter(tmp_path / "a" / "b", record=True, private=private)
        writer.final(final("Whole.", 0, 1))
        writer.close()
        set_private = ["--set", f"session.private={private}"]
        exported = tmp_path / "a" / "letter.txt"
        assert run(tmp_path / "a" / "b", "export", "last", "-o", str(exported), *set_private).exit_code == 0
        saved = tmp_path / "a" / "saved.txt"
        save(Transcript(), saved, private=private)
        output = Output("txt", tmp_path / "a" / "out.txt", private=private)
        output.done()
    finally:
        os.umask(before)
    paths = list((tmp_path / "a").rglob("*"))
    assert len(paths) == 6
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a", *paths)} == modes


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
