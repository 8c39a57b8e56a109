"""Bad audio is reported in one sentence, before any model is loaded."""

from __future__ import annotations

import functools
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from device_asr.audio.file import FileSource
from device_asr.audio.format import SAMPLE_RATE
from device_asr.bundle.bundle import load
from device_asr.bundle.schema import problem
from device_asr.commands.parts.output import Output, output_paths
from device_asr.errors import AudioError, BundleError, OutputError, UsageError
from device_asr.events import Final
from tests.support.paths import ASSETS, MODEL


def read(path: Path) -> tuple[np.ndarray, list[str]]:
    source = FileSource(path)
    return np.concatenate([chunk.pcm for chunk in source]), source.notes()


def tone(seconds: float, rate: int = SAMPLE_RATE) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.flac", "a.au", "a.w64", "a.mp3"])
def test_a_cut_file_is_reported_with_both_lengths(name: str, tmp_path: Path) -> None:
    """libsndfile quietly shortens a cut WAV, AIFF, AU or W64; a person must still know."""
    path = tmp_path / name
    soundfile.write(path, tone(4.0), SAMPLE_RATE)
    whole, notes = read(path)
    assert len(whole) == 64_000 and notes == []
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    cut, notes = read(path)
    assert 0 < len(cut) < 64_000
    assert [("cut short" in note, "4.0 s" in note) for note in notes] == [(True, True)]


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_stream_without_its_end_is_reported(subtype: str, tmp_path: Path) -> None:
    """Its header has no length."""
    path = tmp_path / "a.ogg"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 10 * SAMPLE_RATE), SAMPLE_RATE, subtype=subtype)
    assert read(path)[1] == []
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    cut, (note,) = read(path)
    assert f"cut short: its end is missing, {len(cut) / SAMPLE_RATE:.1f} s could be read" in note
    assert SAMPLE_RATE < len(cut) < 9 * SAMPLE_RATE


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff", "a.au", "a.caf", "a.w64"])
@pytest.mark.parametrize("cut", [1, 3, 12, 20, 43, 44, 45, 60, 100, 300])
def test_a_file_cut_in_its_header_is_one_sentence(name: str, cut: int, tmp_path: Path) -> None:
    path = tmp_path / name
    soundfile.write(path, tone(4.0), SAMPLE_RATE)
    path.write_bytes(path.read_bytes()[:cut])
    try:
        pcm, notes = read(path)
    except AudioError as error:
        notes, pcm = [str(error)], np.zeros(0)
    assert len(notes) == 1 and name in notes[0] and len(pcm) < 300
    assert (
        "cut short" in notes[0]
        or "not an audio file that can be read" in notes[0]
        or "no audio in it" in notes[0]
        or "too short for a word" in notes[0]
    )


def test_a_header_whose_audio_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, tone(4.0), SAMPLE_RATE)
    path.write_bytes(path.read_bytes()[:60] + bytes(2000))
    with pytest.raises(AudioError, match=r"a\.flac: the header promises 4\.0 s of audio and none can be read"):
        read(path)


def test_raw_samples_are_sent_to_standard_input(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(1000))
    with pytest.raises(AudioError, match=r"transcribe - --encoding s16le --rate 16000 < a\.raw"):
        FileSource(tmp_path / "a.raw")


def test_a_wav_written_to_a_pipe_is_not_called_cut(tmp_path: Path) -> None:
    """ffmpeg writes 0xFFFFFFFF for a size that it does not know yet."""
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(1.0), SAMPLE_RATE)
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    pcm, notes = read(path)
    assert len(pcm) == SAMPLE_RATE and notes == []


def test_infinite_samples_in_opposite_channels_are_counted_without_a_warning(tmp_path: Path) -> None:
    audio = np.repeat(tone(1.0)[:, None], 2, axis=1)
    audio[:10] = np.inf, -np.inf
    audio[10:30] = 3e38  # finite, but their sum is not
    path = tmp_path / "a.wav"
    soundfile.write(path, audio, SAMPLE_RATE, subtype="FLOAT")
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
    with pytest.raises(AudioError, match="a pipe or device; wanted an audio file, or raw PCM on standard input"):
        FileSource(tmp_path / "pipe")


# -- where the text goes -----------------------------------------------------------------------------

UTTERANCE = Final(0, "Hello.", 0.0, 1.0, 1.6, (), 0.9)


def test_an_audio_file_is_never_overwritten_by_its_text(tmp_path: Path) -> None:
    audio = tmp_path / "a.txt"
    soundfile.write(tmp_path / "a.wav", tone(1.0), SAMPLE_RATE)
    (tmp_path / "a.wav").rename(audio)
    for out in (audio, tmp_path):
        with pytest.raises(UsageError, match="is one of the recordings and would be overwritten"):
            output_paths((str(audio),), out, "txt")
    assert output_paths((str(audio),), tmp_path, "srt") == [tmp_path / "a.srt"]


def test_a_text_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    output = Output("txt", path)
    output.final(UTTERANCE)
    assert path.read_text() == "before"
    output.abandon()
    assert os.listdir(tmp_path) == ["a.txt"] and path.read_text() == "before"
    output = Output("txt", path)
    output.final(UTTERANCE)
    output.done()
    assert os.listdir(tmp_path) == ["a.txt"] and path.read_text() == "Hello.\n"


def test_a_link_stays_a_link_and_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("before")
    (tmp_path / "link.txt").symlink_to("real.txt")
    output = Output("txt", tmp_path / "link.txt")
    output.final(UTTERANCE)
    output.done()
    assert (tmp_path / "link.txt").is_symlink() and (tmp_path / "real.txt").read_text() == "Hello.\n"

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    output = Output("txt", pipe)
    output.final(UTTERANCE)
    output.done()
    assert os.read(reader, 100) == b"Hello.\n" and pipe.is_fifo()
    os.close(reader)


def test_a_letter_that_the_terminal_has_not_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    Output("txt", None).final(Final(0, "Café.", 0.0, 1.0, 1.6, (), 0.9))
    assert terminal.buffer.getvalue() == b"Caf?.\n"


def test_a_name_that_cannot_be_opened_is_one_sentence_and_standard_output_stays_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a" * 256, "none/a.txt"):
        with pytest.raises(OutputError, match=r"could not be written \(.*No partial file was left"):
            Output("txt", tmp_path / name)
    Output("txt", None).final(UTTERANCE)
    assert capsys.readouterr().out == "Hello.\n" and os.listdir(tmp_path) == []


# -- bundles -----------------------------------------------------------------------------------------

MANIFEST = json.loads((MODEL / "manifest.json").read_text())


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a parsed JSON text; of a list the first two."""
    if path:
        yield path
    for key in value if isinstance(value, dict) else range(min(2, len(value))) if isinstance(value, list) else ():
        yield from places(value[key], (*path, key))


def without_the_free(path: tuple[Any, ...]) -> bool:
    """Keys that only people read may hold anything."""
    return path[0] not in ("language", "family", "parity", "provenance", "licenses")


@pytest.mark.parametrize("damage", [None, "x", -1, 1.5, [None], {"a": None}, 10**12], ids=str)
def test_any_damage_to_a_manifest_is_reported_and_never_a_crash(damage: object) -> None:
    problems = 0
    for path in filter(without_the_free, places(MANIFEST)):
        manifest = json.loads(json.dumps(MANIFEST))
        *parents, last = path
        functools.reduce(lambda at, key: at[key], parents, manifest)[last] = damage
        problems += problem(manifest) is not None
    assert problems > 60 and problem(MANIFEST) is None


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (
            ("files", "model.pte", "bytes"),
            "30",
            "wanted a whole number of 0 or more at files.model.pte.bytes, found '30'",
        ),
        (("programs", "vad", "file"), "x.pte", "wanted the name of a file in the bundle at programs.vad.file"),
        (
            ("programs", "speech", "constants", "table", "offset"),
            10**9,
            "the constant 'table' of program 'speech' ends at",
        ),
        (("programs", "speech", "constants", "table", "dtype"), "int3", "wanted one of int8"),
        (("programs", "speech", "constants"), {}, "wanted a place in programs.speech.constants for the constant"),
        (("vocabulary", "suppress"), [99_999], ", found 99999"),
        (("speech", "prompt"), "four", "wanted a list at speech.prompt, found 'four'"),
        (
            ("programs", "vad", "methods", "step", "outputs", 0, "role"),
            "loudness",
            "wanted one of probability, state[i] as",
        ),
        (
            ("programs", "speech", "methods", "decode", "inputs", 0, "role"),
            "position",
            "with the role 'position', found 2",
        ),
        (
            ("programs", "speech", "methods", "decode", "inputs", 4, "role"),
            "self_keys[7]",
            "the role 'self_keys[0]', found",
        ),
        (("programs", "speech", "methods", "encode", "outputs"), [], "in the outputs of speech.encode, found []"),
        (("programs", "speech", "methods", "encode", "inputs", 0, "shape"), [10**6, 10**6], "elements in 'pcm' of"),
        (
            ("programs", "vad", "methods", "step", "inputs", 0, "shape"),
            [1, 256],
            "wanted the shape [1, 512] of the pcm",
        ),
        (("programs", "speech", "methods", "stream", "look_ahead"), 7, "with 7 of look-ahead, found [1, 5120]"),
        (("speech", "cache"), 225, "wanted a cache of 225 slots in the shape of 'self_keys_0'"),
        (("files", "../x"), {"sha256": "", "bytes": 0}, "wanted names of files beside the manifest, found '../x'"),
    ],
)
def test_damage_is_reported_with_its_place(path: tuple[str, ...], value: object, sentence: str, tmp_path: Path) -> None:
    manifest = json.loads(json.dumps(MANIFEST))
    functools.reduce(lambda at, key: at[key], path[:-1], manifest)[path[-1]] = value
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError) as error:
        load(str(tmp_path))
    assert sentence in str(error.value) and "build or copy the bundle again" in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        "\xff",
        "[]",
        "3",
        '{"format": "1"}',
        '{"format": true}',
        '{"format": 0}',
        '{"format": 1}',
    ],
)
def test_what_is_no_manifest_is_reported(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError, match=r"cannot be read|wanted a manifest with a format number|the manifest lacks"):
        load(str(tmp_path))


def test_a_program_cut_short_is_reported_even_without_checksums(tmp_path: Path) -> None:
    """ExecuTorch ends the process when it runs one."""
    bundle = Path(shutil.copytree(MODEL, tmp_path / "en-tiny"))
    os.truncate(bundle / "vad.pte", 600_000)
    with pytest.raises(BundleError, match=r"vad\.pte: wanted \d+ bytes, found 600000; copy the bundle again"):
        load(str(bundle), verify=False)


# -- the process -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "kill"])
def test_ctrl_c_or_a_kill_leaves_no_file_and_exits_with_130(number: signal.Signals, tmp_path: Path) -> None:
    letter = ASSETS / "letter.flac"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "device_asr.cli",
            "transcribe",
            str(letter),
            "--realtime",
            "--out",
            str(tmp_path / "a.txt"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("a.txt.*.partial")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["models", "list"], ["config"]])
def test_a_full_disk_behind_standard_output_is_one_sentence(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "device_asr.cli", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stderr == "device-asr: standard output: the disk is full; free some of it and call again.\n"


def test_no_standard_input_is_a_usage_mistake() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "device_asr.cli", "transcribe", "-"],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: os.close(0),
    )
    assert done.returncode == 2 and "wanted raw PCM, found a terminal or nothing" in done.stderr
    assert done.stderr.count("\n") == 1


def test_partials_are_whole_on_a_terminal_that_does_not_know_its_width() -> None:
    """A fresh pseudo-terminal reports 0 columns; each partial lost its first letter there."""
    timer = ASSETS / "timer.flac"
    screen, terminal = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "device_asr.cli", "transcribe", str(timer), "--realtime"],
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
    )
    text, _ = process.communicate(timeout=60)
    os.set_blocking(screen, False)
    shown = os.read(screen, 65_536).decode()
    os.close(screen)
    os.close(terminal)
    partials = [line for line in shown.replace("\x1b[2K", "").split("\r") if line]
    assert process.returncode == 0 and len(partials) >= 2
    assert all(partial[0] == text[0] for partial in partials)
