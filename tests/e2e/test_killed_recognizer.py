"""The interface in a pseudo-terminal, in real time, while the recognizer's process is killed: what is seen and kept."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import psutil
import pytest
import soundfile

from device_asr import config
from device_asr.audio.format import SAMPLE_RATE
from device_asr.bundle.bundle import find_bundles
from device_asr.dictation import history as sessions
from device_asr.events import Final
from device_asr.metrics.wer import word_errors
from device_asr.recognition.assemble import assemble
from tests.support.paths import ASSETS
from tests.support.terminal import Terminal

LETTER = ASSETS / "letter.flac"
LINE = "The recognizer was ended by SIGKILL: it starts again, and the audio is kept."
pytestmark = [pytest.mark.e2e, pytest.mark.serial, pytest.mark.skipif(not find_bundles(), reason="no model is there")]


def whole(finals: list[Final]) -> str:
    return " ".join(final.text for final in finals)


def undisturbed(audio: Path) -> list[Final]:
    recognizer = assemble(config.load(environ={}).config)
    events = recognizer.feed(soundfile.read(audio, dtype="float32")[0]) + recognizer.finish()
    return [event for event in events if isinstance(event, Final)]


def kill_recognizer(terminal: Terminal) -> None:
    (child,) = (
        child
        for child in psutil.Process(terminal.process.pid).children()
        if "spawn_main" in " ".join(child.cmdline()) and child.status() != psutil.STATUS_ZOMBIE
    )
    child.send_signal(signal.SIGKILL)


def elapsed(screen: str) -> float:
    """Seconds of audio so far, as the state line says."""
    found = re.search(r"thr +(\d+):(\d\d) ", screen)
    return int(found.group(1)) * 60 + int(found.group(2)) if found else -1


def killed_at(tmp_path: Path, audio: Path, places: list[float]) -> None:
    """Plays `audio` and kills at each of `places`, in seconds; holds what is seen, kept and recorded."""
    env = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "DEVICE_ASR_SESSION_FOLDER": str(tmp_path / "sessions")}
    command = [sys.executable, "-m", "device_asr.cli", "--source", str(audio), "--record"]
    pcm = soundfile.read(audio, dtype="int16")[0]
    with Terminal(command, env, 80, 24) as terminal:
        terminal.until(lambda screen: "ready after" in screen, 30, "the model")
        for place in places:
            terminal.until(lambda screen, place=place: elapsed(screen) >= place, 60, f"{place} s")
            kill_recognizer(terminal)
            terminal.until(lambda screen: LINE in screen and "loading" in screen, 5, "the line that tells of it")
            terminal.until(lambda screen: "listening" in screen or "stopped" in screen, 20, "another process")
        terminal.until(lambda screen: "stopped" in screen, 60, "the end")
        terminal.press("q")
        assert terminal.process.wait(20) == 0
    (session,) = sessions.list_sessions(tmp_path / "sessions")
    kept, wanted = [line.final for line in session.lines], undisturbed(audio)
    assert [(final.start, final.end) for final in kept] == [(final.start, final.end) for final in wanted]
    # on a busy machine a partial may be skipped because it is late, and a final may differ from it in a comma
    assert word_errors([(whole(wanted), whole(kept))]).wer == 0
    recorded = soundfile.read(session.path.with_suffix(".wav"), dtype="int16")[0]
    assert recorded.tolist() == pcm.tolist()


def test_a_kill_in_mid_utterance_is_one_line_and_no_word(tmp_path: Path) -> None:
    """10 s; the words, the times of the finals and the recording are those of an undisturbed run."""
    pcm = soundfile.read(LETTER, dtype="int16")[0][: 10 * SAMPLE_RATE]
    soundfile.write(tmp_path / "two.wav", pcm, SAMPLE_RATE)
    killed_at(tmp_path, tmp_path / "two.wav", [6.0])


@pytest.mark.slow
def test_ten_kills_in_the_letter_lose_no_word(tmp_path: Path) -> None:
    killed_at(tmp_path, LETTER, [2.0 + 2.6 * place for place in range(10)])
