"""What the manifest says of the speech program beyond Whisper, and how its tokens write text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from device_asr.bundle import schema
from device_asr.bundle.bundle import load
from device_asr.bundle.speech import Speech
from device_asr.bundle.vocabulary import Vocabulary, plain_tokens, write_tokens
from tests.support.changed_bundle import changed, says
from tests.support.paths import MODEL


def test_a_manifest_without_the_optional_keys_means_whisper(bundle: Path) -> None:
    speech = load(str(bundle), verify=False).speech
    assert (speech.tokens_per_second, speech.retry_silence, speech.end_first) == (12.0, 4.0, "free")
    assert (speech.position_s, speech.longest) == (0.02, 0.02 * speech.positions)


def test_the_shipped_manifest_is_of_whisper() -> None:
    assert Speech(320, 1500, 224, 32) == load(str(MODEL), verify=False).speech


def test_optional_keys_are_read(bundle: Path) -> None:
    said = changed(bundle, says(tokens_per_second=6.5, retry_silence=0, end_first="silence", samples_per_position=384))
    assert (said.speech.tokens_per_second, said.speech.retry_silence, said.speech.end_first) == (6.5, 0, "silence")
    assert said.speech.position_s == 0.024


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ({"end_first": "never"}, "wanted one of free, silence at speech.end_first, found 'never'"),
        ({"end_first": 1}, "wanted a text at speech.end_first, found 1"),
        ({"tokens_per_second": 0}, "wanted speech.tokens_per_second to be above 0, found 0"),
        ({"tokens_per_second": "many"}, "wanted a number of 0 to 1000000 at speech.tokens_per_second, found 'many'"),
        ({"retry_silence": -1}, "wanted a number of 0 to 1000000 at speech.retry_silence, found -1"),
    ],
)
def test_wrong_ones_are_refused(bundle: Path, entries: dict[str, Any], problem: str) -> None:
    assert schema.problem(changed(bundle, says(**entries)).manifest) == problem


PIECES = ["<unk>", "<s>", "</s>", *(f"<0x{value:02X}>" for value in range(256)), "▁caf", "▁two", "s", "▁", "<0x", "x▁y"]


def test_pieces_of_sentencepiece_write_spaces_and_bytes() -> None:
    tokens = plain_tokens(piece.encode() for piece in PIECES)
    assert tokens[3 : 3 + 256] == tuple(bytes([value]) for value in range(256))
    assert tokens[259:] == (b" caf", b" two", b"s", b" ", b"<0x", b"x y")


def test_a_character_of_several_bytes_is_whole_and_within_its_word() -> None:
    vocabulary = Vocabulary(plain_tokens(piece.encode() for piece in PIECES), (1,), 2)
    ids = [259, 3 + 0xC3, 3 + 0xA9, 260, 261, 3 + 0x0A]
    assert vocabulary.decode(ids) == " café twos\n"
    assert vocabulary.decode(ids[:2]) == " caf", "half a character waits for its other half"
    assert vocabulary.words(ids) == [[0, 1, 2], [3, 4, 5]]


def test_a_bundle_whose_words_begin_with_the_mark_of_sentencepiece_is_read_so(bundle: Path, tmp_path: Path) -> None:
    for file in bundle.iterdir():
        (tmp_path / file.name).symlink_to(file)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["speech"]["word_start"] = "▁"
    manifest["vocabulary"]["file"] = "pieces.txt"
    write_tokens(tmp_path / "pieces.txt", [piece.encode() for piece in PIECES[-6:]])
    manifest["files"]["pieces.txt"] = {"sha256": "", "bytes": (tmp_path / "pieces.txt").stat().st_size}
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    vocabulary = load(str(tmp_path), verify=False).vocabulary()
    assert vocabulary.word_start == " " and vocabulary.decode([0, 1, 2]) == " caf twos"
    assert vocabulary.words([0, 1, 2]) == [[0], [1, 2]]
