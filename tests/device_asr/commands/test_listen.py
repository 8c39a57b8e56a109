"""`device-asr listen` without a microphone: what goes where, Ctrl-C, other programs."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from device_asr.audio.realtime import RealtimeSource
from device_asr.commands.listen import Printer, finish, listen
from device_asr.commands.parts.progress import CLEAR_LINE
from device_asr.config import Config
from device_asr.dictation.handover import Handover, typing_command
from device_asr.dictation.state import Delivery, Notice
from device_asr.errors import DeviceAsrError, DeviceError, OutputError
from device_asr.events import AudioGap, Partial, from_record
from tests.support.paths import ROOT
from tests.support.utterance_counter import Audio, UtteranceCounter, silence, speech

pytestmark = pytest.mark.serial

TWO_UTTERANCES = np.concatenate([speech(0.5), silence(0.1), speech(0.3), silence(0.1)])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def listened(
    pcm: np.ndarray,
    format: str = "txt",
    err: io.StringIO | None = None,
    handovers: list[Handover] | None = None,
    **audio: float,
) -> str:
    out = io.StringIO()
    listen(
        RealtimeSource(Audio(pcm, **audio)),
        UtteranceCounter,
        Config(),
        Printer(format, out, err or io.StringIO(), handovers or []),
    )
    return out.getvalue()


def test_text_is_one_utterance_a_line_and_a_pipe_sees_nothing_else() -> None:
    err = io.StringIO()
    assert listened(TWO_UTTERANCES, err=err) == "0.500\n0.300\n"
    assert err.getvalue() == ""


def test_json_lines_are_events() -> None:
    events = [from_record(json.loads(line)) for line in listened(TWO_UTTERANCES, "jsonl").splitlines()]
    assert [event.text for event in events] == ["0.500", "0.300"]


def test_a_terminal_sees_the_partial_drawn_over_and_cleared_before_the_final() -> None:
    err = Terminal()
    assert listened(TWO_UTTERANCES, err=err) == "0.500\n0.300\n"
    drawn = err.getvalue()
    assert "0.2 so far" in drawn and "0.4 so far" in drawn
    assert drawn.count(CLEAR_LINE) >= 4


def test_lost_audio_and_a_lost_device_are_reported_in_a_pipe_too() -> None:
    out, err = io.StringIO(), io.StringIO()
    printer = Printer("jsonl", out, err, [])
    printer.show(Delivery(AudioGap(1.0, 0.25), 0.0))
    printer.show(Delivery(Notice("device_lost", "The microphone is gone."), 0.0))
    printer.show(Delivery(Notice("device_opened", "Listening."), 0.0))
    printer.show(Delivery(Notice("recognizer_died", "It starts again."), 0.0))
    printer.show(Delivery(Partial(0, "a", "", 0, 1, 1), 0.0))
    assert err.getvalue() == "250 ms of audio were lost (overflow).\nThe microphone is gone.\nIt starts again.\n"
    assert from_record(json.loads(out.getvalue())) == AudioGap(1.0, 0.25)


def test_ctrl_c_finishes_the_utterance() -> None:
    threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    text = listened(speech(5.0))
    assert time.monotonic() - began < 2
    assert float(text) == pytest.approx(0.4, abs=0.15)


def test_a_second_ctrl_c_ends_at_once() -> None:
    class Slow(UtteranceCounter):
        def finish(self) -> list:
            time.sleep(2)
            return super().finish()

    for delay in (0.3, 0.6):
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        listen(RealtimeSource(Audio(speech(5.0))), Slow, Config(), Printer("txt", io.StringIO(), io.StringIO(), []))
    assert time.monotonic() - began < 1.5


def test_a_failure_comes_after_the_text_so_far() -> None:
    out = io.StringIO()
    with pytest.raises(DeviceAsrError, match=r"The disk was pulled out\."):
        listen(
            RealtimeSource(Audio(speech(1.0), fails_at=0.3)),
            UtteranceCounter,
            Config(),
            Printer("txt", out, io.StringIO(), []),
        )
    assert out.getvalue() == "0.300\n"


def test_a_full_disk_is_a_sentence() -> None:
    full = io.TextIOWrapper(io.FileIO("/dev/full", "w"), write_through=True)
    with pytest.raises(OutputError, match="No space left"):
        listen(
            RealtimeSource(Audio(TWO_UTTERANCES)), UtteranceCounter, Config(), Printer("txt", full, io.StringIO(), [])
        )


def test_each_final_is_given_to_a_command_in_order(tmp_path: Path) -> None:
    log = tmp_path / "log"
    failures: list[str] = []
    handover = Handover(f"sleep 0.2; cat >> {log}", "\n", failures.append)
    listened(TWO_UTTERANCES, handovers=[handover])
    handover.close()
    assert log.read_text() == "0.500\n0.300\n"
    assert failures == []


def test_a_command_that_fails_is_reported_and_the_next_text_is_given_all_the_same(tmp_path: Path) -> None:
    log, failures = tmp_path / "log", []
    handover = Handover(f"cat >> {log}; exit 3", " ", failures.append)
    listened(TWO_UTTERANCES, handovers=[handover])
    handover.close()
    assert log.read_text() == "0.500 0.300 "
    assert len(failures) == 2 and "code 3" in failures[0]
    absent = Handover(["no-such-tool"], "", failures.append)
    absent.send("text")
    absent.close()
    assert "no-such-tool" in failures[2]


def test_a_command_that_hangs_is_killed_with_what_it_has_started(tmp_path: Path) -> None:
    failures: list[str] = []
    handover = Handover(f"sleep 60 & echo $! >> {tmp_path / 'pids'}; wait", "\n", failures.append, timeout=0.3)
    began = time.monotonic()
    for text in ("one", "two"):
        handover.send(text)
    handover.close()
    assert time.monotonic() - began < 5
    assert len(failures) == 2 and all("did not end within 0.3 s" in failure for failure in failures)
    for pid in (tmp_path / "pids").read_text().split():
        with pytest.raises(ProcessLookupError):
            gone = time.monotonic() + 5
            while time.monotonic() < gone:
                os.kill(int(pid), 0)
                if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                    raise ProcessLookupError
                time.sleep(0.02)


def test_a_command_that_does_not_read_is_ended_too() -> None:
    failures: list[str] = []
    handover = Handover(["sleep", "60"], "", failures.append, timeout=0.2)
    handover.send("x" * 1_000_000)
    handover.close()
    assert len(failures) == 1 and "'sleep' did not end" in failures[0]


def test_the_queue_of_a_slow_command_has_an_end_and_says_what_it_did_not_take(tmp_path: Path) -> None:
    failures: list[str] = []
    log = tmp_path / "log"
    handover = Handover(f"sleep 0.2; cat >> {log}", "\n", failures.append, most=3)
    for number in range(6):
        handover.send(f"text {number}")
    handover.close()
    taken = log.read_text().splitlines()  # three waited, and a fourth where the first was taken at once
    assert 3 <= len(taken) <= 4 and taken == [f"text {number}" for number in range(len(taken))]
    assert failures == [
        f"{handover.name!r} was not given 'text {number}': 3 utterances wait for it already."
        for number in range(len(taken), 6)
    ]


def test_a_slow_command_holds_neither_the_microphone_nor_the_text() -> None:
    pcm = np.tile(np.concatenate([speech(0.2), silence(0.1)]), 8)
    handover = Handover("sleep 60", "\n", lambda failure: None, most=2)
    began = time.monotonic()
    assert listened(pcm, handovers=[handover]) == "0.200\n" * 8
    assert time.monotonic() - began < len(pcm) / 16000 + 1.5
    assert handover.waiting == 3


def test_ctrl_c_ends_the_waiting_for_a_command_and_says_what_it_has_not_taken() -> None:
    err = Terminal()
    handover = Handover("sleep 60", "\n", lambda failure: None)
    for text in ("one", "two"):
        handover.send(text)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        finish(handover, Printer("txt", io.StringIO(), err, []))
    assert "still works on 2 utterances" in err.getvalue() and "has not taken the last 2 utterances" in err.getvalue()


def screen(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], installed: set[str]) -> None:
    for name in ("WAYLAND_DISPLAY", "DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(shutil, "which", lambda name: name if name in installed else None)


@pytest.mark.parametrize(
    ("environ", "installed", "tool"),
    [
        ({"WAYLAND_DISPLAY": "wayland-0", "DISPLAY": ":0"}, {"wtype", "xdotool", "ydotool"}, "wtype"),
        ({"WAYLAND_DISPLAY": "wayland-0"}, {"xdotool", "ydotool"}, "ydotool"),
        ({"DISPLAY": ":0"}, {"wtype", "xdotool"}, "xdotool"),
        ({}, {"wtype", "xdotool", "ydotool"}, "ydotool"),
    ],
)
def test_the_typing_tool_fits_the_screen(
    environ: dict, installed: set, tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen(monkeypatch, environ, installed)
    found = typing_command()
    assert found[0] == tool and found[-1] == "-", "text goes by standard input, never as an option"


def test_without_a_typing_tool_the_sentence_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    screen(monkeypatch, {"DISPLAY": ":0"}, set())
    with pytest.raises(DeviceAsrError, match=r"needs xdotool or ydotool under X11.*apt install xdotool"):
        typing_command()


def test_no_microphone_is_one_sentence(tmp_path: Path) -> None:
    environ = {**os.environ, "HOME": str(tmp_path), "PULSE_SERVER": "unix:/nonexistent"}
    result = subprocess.run(
        [sys.executable, "-m", "device_asr.cli", "listen", "--device", "a ribbon of old"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert "microphone" in result.stderr.lower() and len(result.stderr.splitlines()) == 1


def test_a_reader_that_leaves_ends_it_quietly_as_every_verb() -> None:
    left = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import device_asr.audio.microphone as m, device_asr.dictation.remote as r\n"
        "from tests.support.utterance_counter import *; from device_asr.audio.realtime import RealtimeSource\n"
        "import numpy as np\n"
        "m.MicrophoneSource = lambda audio: RealtimeSource(Audio(np.tile(np.concatenate("
        "[speech(.05), silence(.05)]), 100)))\n"
        "r.load = lambda config: UtteranceCounter()\n"
        "from device_asr.cli import main; main(['listen'])"
    )
    shell = f'{sys.executable} -c "$PROGRAM" | head -1; echo ${{PIPESTATUS[0]}}'
    result = subprocess.run(
        ["bash", "-c", shell], env={**os.environ, "PROGRAM": left}, capture_output=True, text=True, timeout=30
    )
    assert result.stdout.split() == ["0.050", "141"]
    assert result.stderr == ""


def test_a_device_error_is_a_device_asr_error() -> None:
    assert issubclass(DeviceError, DeviceAsrError) and DeviceError.exit_code == 1
