"""Sound that is not as it should be: told in one sentence, before any model is loaded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from device_asr.commands.transcribe import Output, output_paths
from device_asr.errors import AudioError, OutputError, UsageError
from device_asr.events import Final
from device_asr.sources.file import FileSource


def read(path: Path) -> tuple[np.ndarray, list[str]]:
    source = FileSource(path)
    return np.concatenate([chunk.pcm for chunk in source]), source.notes()


def tone(seconds: float, rate: int = 16_000) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.flac"])
def test_a_cut_file_is_told_with_both_lengths(name: str, tmp_path: Path) -> None:
    """libsndfile quietly shortens a cut WAV or AIFF; a person must still hear of it."""
    path = tmp_path / name
    soundfile.write(path, tone(4.0), 16_000)
    whole, notes = read(path)
    assert len(whole) == 64_000 and notes == []
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    cut, notes = read(path)
    assert 0 < len(cut) < 64_000
    assert [("cut short" in note, "4.0 s" in note) for note in notes] == [(True, True)]


def test_a_wav_written_to_a_pipe_is_not_called_cut(tmp_path: Path) -> None:
    """ffmpeg writes 0xFFFFFFFF for a size that it does not know yet."""
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(1.0), 16_000)
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    pcm, notes = read(path)
    assert len(pcm) == 16_000 and notes == []


def test_infinite_samples_in_opposite_channels_are_counted_without_a_warning(tmp_path: Path) -> None:
    sound = np.repeat(tone(1.0)[:, None], 2, axis=1)
    sound[:10] = np.inf, -np.inf
    sound[10:30] = 3e38  # finite, but their sum is not
    path = tmp_path / "a.wav"
    soundfile.write(path, sound, 16_000, subtype="FLOAT")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pcm, notes = read(path)
    assert np.isfinite(pcm).all() and np.abs(pcm).max() <= 1.0
    assert any(note.endswith("30 samples were NaN or infinite and were taken as silence.") for note in notes)


@pytest.mark.parametrize("rate", [10, 1_000_000])
def test_a_rate_that_cannot_be_speech_is_refused(rate: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(1.0), rate)
    with pytest.raises(AudioError, match=f"the header says {rate}; convert"):
        FileSource(path)


def test_a_pipe_that_nobody_writes_to_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AudioError, match="a pipe or device; wanted a sound file, or raw PCM on standard input"):
        FileSource(tmp_path / "pipe")


# -- where the text goes -----------------------------------------------------------------------------

PHRASE = Final(0, "Hello.", 0.0, 1.0, 1.6, (), 0.9)


def test_a_sound_is_never_overwritten_by_its_text(tmp_path: Path) -> None:
    sound = tmp_path / "a.txt"
    soundfile.write(tmp_path / "a.wav", tone(1.0), 16_000)
    (tmp_path / "a.wav").rename(sound)
    for out in (sound, tmp_path):
        with pytest.raises(UsageError, match="is one of the sounds and would be overwritten"):
            output_paths((str(sound),), out, "txt")
    assert output_paths((str(sound),), tmp_path, "srt") == [tmp_path / "a.srt"]


def test_a_text_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    output = Output("txt", path)
    output.final(PHRASE)
    assert path.read_text() == "before"
    output.abandon()
    assert os.listdir(tmp_path) == ["a.txt"] and path.read_text() == "before"
    output = Output("txt", path)
    output.final(PHRASE)
    output.done()
    assert os.listdir(tmp_path) == ["a.txt"] and path.read_text() == "Hello.\n"


def test_a_link_stays_a_link_and_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("before")
    (tmp_path / "link.txt").symlink_to("real.txt")
    output = Output("txt", tmp_path / "link.txt")
    output.final(PHRASE)
    output.done()
    assert (tmp_path / "link.txt").is_symlink() and (tmp_path / "real.txt").read_text() == "Hello.\n"

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    output = Output("txt", pipe)
    output.final(PHRASE)
    output.done()
    assert os.read(reader, 100) == b"Hello.\n" and pipe.is_fifo()
    os.close(reader)


def test_a_name_that_cannot_be_opened_is_one_sentence_and_standard_output_stays_open(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a" * 250, "none/a.txt"):
        with pytest.raises(OutputError, match=r"could not be written \(.*No partial file was left"):
            Output("txt", tmp_path / name)
    Output("txt", None).final(PHRASE)
    assert capsys.readouterr().out == "Hello.\n" and os.listdir(tmp_path) == []


# -- the process -------------------------------------------------------------------------------------


def test_ctrl_c_leaves_no_file_and_exits_with_130(tmp_path: Path) -> None:
    letter = Path(__file__).parent.parent / "assets" / "letter.flac"
    process = subprocess.Popen(
        [sys.executable, "-m", "device_asr.cli", "transcribe", str(letter), "--realtime", "--out",
         str(tmp_path / "a.txt")], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "a.txt.partial").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["models", "list"], ["config"]])
def test_a_full_disk_behind_standard_output_is_one_sentence(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "device_asr.cli", *arguments], stdout=full,
                              stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "device-asr: standard output: the disk is full; free some of it and call again.\n"


def test_no_standard_input_is_a_usage_mistake() -> None:
    done = subprocess.run([sys.executable, "-m", "device_asr.cli", "transcribe", "-"], capture_output=True, text=True,
                          timeout=60, preexec_fn=lambda: os.close(0))
    assert done.returncode == 2 and "wanted raw PCM, found a terminal or nothing" in done.stderr
    assert done.stderr.count("\n") == 1


def test_partials_are_whole_on_a_terminal_that_does_not_know_its_width() -> None:
    """A fresh pseudo-terminal reports 0 columns; each partial lost its first letter there."""
    timer = Path(__file__).parent.parent / "assets" / "timer.flac"
    screen, terminal = os.openpty()
    process = subprocess.Popen([sys.executable, "-m", "device_asr.cli", "transcribe", str(timer), "--realtime"],
                               stdout=subprocess.PIPE, stderr=terminal, text=True)
    text, _ = process.communicate(timeout=60)
    os.set_blocking(screen, False)
    shown = os.read(screen, 65_536).decode()
    os.close(screen)
    os.close(terminal)
    partials = [line for line in shown.replace("\x1b[2K", "").split("\r") if line]
    assert process.returncode == 0 and len(partials) >= 2
    assert all(partial[0] == text[0] for partial in partials)
