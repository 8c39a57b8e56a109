"""The whole product: a virtual microphone speaks, the interface in a pseudo-terminal writes."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from device_asr.bundle.bundle import find_bundles
from device_asr.metrics.wer import word_errors
from tests.support.paths import ROOT
from tests.support.terminal import Terminal
from tests.support.virtual_microphone import VirtualMicrophone, missing

LETTER = ROOT / "assets" / "letter.flac"
ABSENT = missing() or (None if find_bundles() else "no model is there")
pytestmark = [pytest.mark.e2e, pytest.mark.serial, pytest.mark.skipif(ABSENT is not None, reason=str(ABSENT))]

PHRASES = [line.split("\t") for line in LETTER.with_suffix(".tsv").read_text().splitlines()]
WORDS = " ".join(text for _, _, text in PHRASES)


def pause_within(pcm: np.ndarray, rate: int, start: float, end: float) -> float:
    """Where it is quietest for 60 ms: a cut there tears no word."""
    width = int(0.06 * rate)
    part = pcm[int(start * rate) : int(end * rate)] ** 2
    level = np.convolve(part, np.ones(width) / width, mode="valid")
    return start + (int(np.argmin(level)) + width / 2) / rate


def read_outs(screen: str) -> dict[str, list[float]]:
    """Numbers of the latency panel by their row."""
    rows = ("first partial", "word emission", "finalization", "without pause")
    found = {}
    for row in rows:
        match = re.search(rf"{row}\s+(-?[\d.]+)\s+(-?[\d.]+)\s+(-?[\d.]+)", screen)
        assert match, f"no numbers for {row}:\n{screen}"
        found[row] = [float(value) for value in match.groups()]
    for name, pattern in {
        "RTF": r"RTF ([\d.]+)",
        "queue": r"queue (\d+)",
        "CPU": r"CPU (\d+) %",
        "memory": r"memory (\d+) MB",
        "words": r"(\d+) words",
        "drops": r"drops (\d+)",
    }.items():
        match = re.search(pattern, screen)
        assert match, f"no {name}:\n{screen}"
        found[name] = [float(match.group(1))]
    return found


@pytest.mark.timeout(240)
def test_a_letter_dictated_while_the_microphone_is_unplugged_and_comes_back(tmp_path: Path) -> None:
    pcm, rate = soundfile.read(LETTER, dtype="float32")
    third = PHRASES[2]
    cut = pause_within(pcm, rate, float(third[0]) + 1.0, float(third[1]) - 1.0)
    soundfile.write(tmp_path / "first.wav", pcm[: int(cut * rate)], rate)
    soundfile.write(tmp_path / "rest.wav", pcm[int(cut * rate) :], rate)
    with VirtualMicrophone() as microphone:
        env = {**microphone.env, "XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
        with Terminal([sys.executable, "-m", "device_asr.cli"], env, 160, 50) as terminal:
            terminal.until(lambda screen: "● listening" in screen, 30, "listening")
            microphone.play(tmp_path / "first.wav", wait=True)
            time.sleep(0.1)
            microphone.unplug()
            terminal.until(
                lambda screen: "○ waiting" in screen and "microphone" in screen.lower(),
                15,
                "the interface says that the microphone is gone",
            )
            terminal.until(lambda screen: "introduction" in screen, 10, "the utterance was finished")
            microphone.plug()
            terminal.until(lambda screen: "● listening" in screen, 30, "the microphone is used again")
            microphone.play(tmp_path / "rest.wav", wait=True)
            terminal.until(lambda screen: "Tom" in screen, 20, "the last words")
            time.sleep(2.5)  # the last final, and a second of the read-outs
            screen = terminal.text
            terminal.press("q")
            assert terminal.process.wait(20) == 0

    sessions = list((tmp_path / "data").rglob("*.jsonl"))
    assert len(sessions) == 1
    rows = [json.loads(line) for line in sessions[0].read_text().splitlines()]
    kept = [row["text"] for row in rows if row.get("event") == "final"]
    assert word_errors([(WORDS, " ".join(kept))]).wer <= 0.10

    transcript = screen_text(screen)
    for text in kept:  # every kept line is on the screen, however it was wrapped
        assert squeezed(text) in squeezed(transcript)

    numbers = read_outs(screen)
    assert 0.1 < numbers["first partial"][1] < 3.0
    assert 0.0 < numbers["word emission"][1] < 5.0
    assert 0.6 <= numbers["finalization"][1] < 3.0
    assert 0.0 < numbers["without pause"][1] < numbers["finalization"][1]
    assert 0.0 < numbers["RTF"][0] < 1.0 and numbers["queue"][0] < 50
    assert 0 < numbers["CPU"][0] < 250 and 50 < numbers["memory"][0] < 2000
    assert abs(numbers["words"][0] - len(WORDS.split())) <= 8
    assert numbers["drops"][0] == 0, "no overflow: a microphone that is gone is reported as such"


def test_without_a_microphone_the_interface_waits_for_one(tmp_path: Path) -> None:
    with VirtualMicrophone() as microphone:
        microphone.unplug()
        env = {**microphone.env, "XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
        with Terminal([sys.executable, "-m", "device_asr.cli"], env, 80, 24) as terminal:
            terminal.until(
                lambda screen: "○ waiting" in screen and "! Waiting for a microphone, looking" in screen,
                30,
                "the interface says what it waits for, in 80 columns",
            )
            microphone.plug()
            terminal.until(lambda screen: "● listening" in screen, 30, "the microphone is used")
            terminal.press("q")
            assert terminal.process.wait(20) == 0


def squeezed(text: str) -> str:
    return "".join(text.split())


def screen_text(screen: str) -> str:
    """The screen without the panel beside the transcript."""
    return "\n".join(line.split("│")[0] if "│" in line else line for line in screen.splitlines())
