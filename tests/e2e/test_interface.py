"""The interface as a process in a pseudo-terminal, over the letter and the real recognizer: how it ends."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from device_asr.bundle.bundle import find_bundles
from device_asr.dictation import history as sessions
from tests.support.paths import ASSETS
from tests.support.terminal import Terminal

LETTER = ASSETS / "letter.flac"
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(not find_bundles(), reason="no model is there")]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    env = {
        **os.environ,
        "XDG_DATA_HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "DEVICE_ASR_SESSION_FOLDER": str(tmp_path / "sessions"),
    }
    with Terminal([sys.executable, "-m", "device_asr.cli", "--source", str(LETTER)], env, 80, 24) as opened:
        yield opened


def words(screen: str) -> int:
    """Finished words, as the state line counts them."""
    found = re.search(r"(\d+) words", screen)
    return int(found.group(1)) if found else 0


def in_mid_utterance(terminal: Terminal) -> None:
    """Waits for a finished utterance, and for words of the next one."""
    terminal.until(lambda screen: words(screen) >= 10, 40, "a finished utterance")
    terminal.until(lambda screen: "train" in screen, 20, "words of the second utterance")


def kept(tmp_path: Path) -> str:
    (session,) = sessions.list_sessions(tmp_path / "sessions")
    return " ".join(line.text for line in session.lines)


def recognizers(terminal: Terminal) -> list[psutil.Process]:
    return psutil.Process(terminal.process.pid).children(recursive=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_polite_signal_finishes_the_utterance_and_restores_the_terminal(
    tmp_path: Path, terminal: Terminal, number: signal.Signals
) -> None:
    in_mid_utterance(terminal)
    children = recognizers(terminal)
    assert children and not terminal.restored, "the interface owns the screen while it runs"
    terminal.process.send_signal(number)
    assert terminal.process.wait(20) == 0
    assert terminal.restored
    assert "train" in kept(tmp_path), "the utterance in progress was finished into the session's file"
    assert "Traceback" not in terminal.text and "history show" in terminal.text
    assert psutil.wait_procs(children, 5)[1] == [], "no process is left behind"


def test_a_closed_window_keeps_the_text(tmp_path: Path, terminal: Terminal) -> None:
    in_mid_utterance(terminal)
    children = recognizers(terminal)
    terminal.hang_up()
    assert terminal.process.wait(20) == 0
    assert "train" in kept(tmp_path), "the utterance in progress was finished though nobody could see it"
    assert psutil.wait_procs(children, 5)[1] == []


def test_after_kill_9_everything_is_there_that_was_shown_a_second_ago(tmp_path: Path, terminal: Terminal) -> None:
    in_mid_utterance(terminal)
    finished = words(terminal.text)
    time.sleep(1.5)  # a second, and what a busy machine takes
    children = recognizers(terminal)
    terminal.process.send_signal(signal.SIGKILL)
    terminal.process.wait(10)
    assert len(kept(tmp_path).split()) > finished >= 10
    assert "train" in kept(tmp_path), "the utterance in progress is kept as it was shown"
    assert psutil.wait_procs(children, 10)[1] == [], "the recognizer ends with its pipe"


@pytest.mark.skipif(os.getloadavg()[0] > (os.cpu_count() or 1), reason="other programs keep every core busy")
def test_the_screen_is_drawn_20_times_a_second_while_the_recognizer_decodes(terminal: Terminal) -> None:
    terminal.until(lambda screen: words(screen) >= 10, 40, "a finished utterance")
    began, draws = time.monotonic(), terminal.draws
    time.sleep(5)
    assert (terminal.draws - draws) / (time.monotonic() - began) >= 20
