"""Sessions on disk: what was said survives a kill, edits come after, sound can be kept."""

from __future__ import annotations

import signal
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from test_transcript import final

from device_asr.errors import OutputError, UsageError
from device_asr.sessions import SessionWriter, delete, find, list_sessions, load

KILLED = """
import os, signal, sys
import numpy as np
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_transcript import final
from device_asr.sessions import SessionWriter
writer = SessionWriter(Path(sys.argv[1]), record=True)
for n in range(20):
    writer.audio(np.full(8000, 0.1, np.float32))
    writer.final(final(f"Phrase {{n}}.", n, n + 0.5, n))
writer.edit(3, "Edited.")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_every_final_and_edit_is_there_after_kill_9(tmp_path: Path) -> None:
    program = KILLED.format(tests=str(Path(__file__).parent))
    result = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, timeout=60)
    assert result.returncode == -signal.SIGKILL, result.stderr.decode()
    session = find(tmp_path, "last")
    texts = [line.text for line in session.lines]
    assert texts == [f"Phrase {n}." if n != 3 else "Edited." for n in range(20)]
    assert session.recording is not None
    with wave.open(str(session.recording)) as sound:
        assert sound.getnframes() >= 9 * 16_000, "at most the last second of ten is missing"


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path)
    writer.final(final("Whole.", 0, 1))
    with writer.path.open("a") as file:
        file.write('{"event": "final", "text": "To')
    assert [line.text for line in load(writer.path).lines] == ["Whole."]


def test_a_session_begun_later_counts_its_times_from_there(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path, offset=10.0)
    own = writer.final(final("Later on.", 12, 13))
    assert (own.start, own.end, own.words[0].start) == (2.0, 3.0, 2.0)
    assert load(writer.path).lines[0].final == own


def test_where_a_phrase_was_cut_short_is_kept_for_the_replay(tmp_path: Path) -> None:
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
    with wave.open(str(writer.path.with_suffix(".wav"))) as sound:
        assert np.frombuffer(sound.readframes(9), "<i2").tolist() == [16384, -16384, 32767]


def test_sessions_of_the_same_second_do_not_meet_and_are_found_by_their_beginning(tmp_path: Path) -> None:
    first, second = SessionWriter(tmp_path), SessionWriter(tmp_path)
    assert first.path != second.path
    assert find(tmp_path, second.id).id == second.id
    with pytest.raises(UsageError, match="found none"):
        find(tmp_path, "1999")
    with pytest.raises(UsageError, match="found 2"):
        find(tmp_path, "2")
    delete(find(tmp_path, first.id))
    assert [s.id for s in list_sessions(tmp_path)] == [second.id]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"session\.folder"):
        SessionWriter(tmp_path / "file" / "sessions")
