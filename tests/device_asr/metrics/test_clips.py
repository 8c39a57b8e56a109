"""Manifests: what a line must be, and one sentence with its number where it is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from device_asr.metrics.clips import Clip, ManifestError, check_clips, check_entry, read_manifest
from device_asr.metrics.word_times import KnownWord


def write(folder: Path, *lines: str) -> Path:
    path = folder / "corpus.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_audio_paths_are_relative_to_the_manifest_and_unknowns_are_none(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '{"audio": "a/1.flac", "text": "Grüße", "speaker": "x", "duration": 2}',
        "",
        '{"audio": "/b.wav", "text": null}',
    )
    assert read_manifest(path) == [Clip(tmp_path / "a/1.flac", "Grüße", "x", 2), Clip(Path("/b.wav"))]


def test_words_have_the_times_that_are_known(tmp_path: Path) -> None:
    words = [{"text": "a", "start": 0, "end": 0.4}, {"text": "rod", "start": None}, {"text": "is"}]
    (clip,) = read_manifest(write(tmp_path, json.dumps({"audio": "a.wav", "words": words})))
    assert clip.words == (KnownWord("a", 0, 0.4), KnownWord("rod"), KnownWord("is"))
    (other,) = read_manifest(write(tmp_path, '{"audio": "a.wav", "words": null}'))
    assert other.words == ()


@pytest.mark.parametrize(
    "entry",
    [
        3,
        [],
        {},
        {"audio": ""},
        {"audio": 5},
        {"audio": "a", "text": 1},
        {"audio": "a", "speaker": []},
        {"audio": "a", "duration": 0},
        {"audio": "a", "duration": "2"},
        {"audio": "a", "duration": True},
        {"audio": "a", "duration": float("nan")},
        {"audio": "a", "duration": float("inf")},
        {"audio": "a", "words": "the rod"},
        {"audio": "a", "words": ["the", "rod"]},
        {"audio": "a", "words": [{"text": None}]},
        {"audio": "a", "words": [{"text": "a", "start": -1}]},
        {"audio": "a", "words": [{"text": "a", "end": "2"}]},
        {"audio": "a", "words": [{"text": "a", "start": 2, "end": 1}]},
        {"audio": "a", "words": [{"text": "a", "end": float("nan")}]},
    ],
)
def test_what_is_not_a_clip_is_reported_with_its_line(tmp_path: Path, entry: object) -> None:
    assert check_entry(entry).startswith("wanted ")
    path = write(tmp_path, '{"audio": "fine.wav"}', json.dumps(entry))
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, line 2: wanted ") and ", found " in message and "\n" not in message


def test_a_line_that_is_not_json_is_reported_with_its_number_and_shortened(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"line 1: wanted a JSON object, found x{57}\.\.\.\.$"):
        read_manifest(write(tmp_path, "x" * 1000))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "not UTF-8"),
        (lambda path: path.write_text("\n\n"), "has no clip"),
    ],
)
def test_a_manifest_that_is_none(tmp_path: Path, make, words: str) -> None:
    path = tmp_path / "corpus.jsonl"
    make(path)
    with pytest.raises(ManifestError, match=words):
        read_manifest(path)


def test_missing_and_doubled_clips_are_found_before_work_begins(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    there, gone = Clip(tmp_path / "a.wav"), Clip(tmp_path / "b.wav")
    assert check_clips([there]) is None
    assert "clip 2: the audio" in check_clips([there, gone])
    assert "same audio" in check_clips([there, there])
