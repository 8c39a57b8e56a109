"""The runtime binds inputs and outputs by role: order and names do not matter; an absent role is an absent feature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from device_asr.bundle.bundle import Bundle, load
from device_asr.bundle.features import absent
from device_asr.bundle.method import Method
from device_asr.bundle.roles import nth, numbered
from device_asr.commands.models import show
from device_asr.config import DecodingConfig
from device_asr.decoding.alignment import align_words
from device_asr.decoding.decoder import Decoder
from device_asr.recognition.stream_encoder import StreamEncoder
from tests.support.changed_bundle import Lacking, changed, drop


class Shuffled:
    """A session that takes inputs and gives outputs in the opposite order."""

    def __init__(self, bundle: Bundle) -> None:
        self._session = bundle.session("speech", 1)

    def run(self, method: str, *arrays: np.ndarray) -> list[np.ndarray]:
        return self._session.run(method, *arrays[::-1])[::-1]


def shuffle(manifest: dict[str, Any]) -> None:
    for method in manifest["programs"]["speech"]["methods"].values():
        for kind in ("inputs", "outputs"):
            method[kind].reverse()
            for k, tensor in enumerate(method[kind]):
                tensor["name"] = tensor["name"] if tensor["role"] == "constant" else f"x{k}"


@pytest.fixture
def audio() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)


def test_neither_order_nor_names_matter(bundle: Path, audio: np.ndarray) -> None:
    plain, other = load(str(bundle), verify=False), changed(bundle, shuffle)
    sessions = plain.session("speech", 1), Shuffled(plain)
    texts, encoded = [], []
    for opened, session in zip((plain, other), sessions, strict=True):
        decoder = Decoder(opened, session, DecodingConfig())
        texts.append(decoder.decode(decoder.encode(audio)))
        encoder = StreamEncoder(opened.stream, session, 200)
        encoder.begin(audio)
        encoder.end()
        encoded.append((encoder.scores, *encoder.encoded().cross.keys))
    assert texts[0].tokens and texts[0].tokens == texts[1].tokens
    np.testing.assert_array_equal(texts[0].alignment, texts[1].alignment)
    for one, two in zip(*encoded, strict=True):
        np.testing.assert_array_equal(one, two)


def test_without_alignment_the_text_is_the_same_and_has_no_word_times(bundle: Path, audio: np.ndarray) -> None:
    plain, other = load(str(bundle), verify=False), Lacking.of(bundle, drop("alignment", "decode"))
    decoder = Decoder(other, other.session("speech", 1), DecodingConfig())
    found = decoder.decode(decoder.encode(audio))
    whole = Decoder(plain, plain.session("speech", 1), DecodingConfig())
    assert found.tokens and found.tokens == whole.decode(whole.encode(audio)).tokens
    assert found.alignment.shape == (0, len(found.tokens) + 1, 100)
    assert align_words(found, other.vocabulary(), 0.02, 0.0, [True] * 62) == ()


def test_without_a_no_speech_token_its_probability_is_0(bundle: Path, audio: np.ndarray) -> None:
    other = changed(bundle, lambda manifest: manifest["speech"].update(no_speech=None))
    decoder = Decoder(other, other.session("speech", 1), DecodingConfig())
    assert decoder.decode(decoder.encode(audio)).no_speech == 0.0


def test_without_ctc_the_stream_encodes_the_same_and_has_no_evidence(bundle: Path, audio: np.ndarray) -> None:
    whole, silent = (
        StreamEncoder(one.stream, one.session("speech", 1), 200)
        for one in (load(str(bundle), verify=False), Lacking.of(bundle, drop("ctc", "stream")))
    )
    for encoder in (whole, silent):
        encoder.begin(audio)
        encoder.preview()
        encoder.end()
    for one, two in zip(whole.encoded().cross.keys, silent.encoded().cross.keys, strict=True):
        np.testing.assert_array_equal(one, two)
    assert whole.emits and not silent.emits
    assert not silent.no_voice() and silent.last_voice() is None and silent.scores.size == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (drop("alignment", "decode"), "No word times and no custom words: the program has no alignment output"),
        (drop("ctc", "stream"), "No custom words: the program has no ctc output of the method stream"),
        (
            lambda manifest: manifest["programs"]["speech"]["methods"].pop("stream"),
            "No streaming and no custom words: the program has no method stream",
        ),
        (lambda manifest: manifest["speech"].update(no_speech=None), "No check for silence: the vocabulary has no"),
    ],
)
def test_an_absent_feature_is_shown(bundle: Path, tmp_path: Path, change: Any, sentence: str) -> None:
    manifest = changed(bundle, change).manifest
    assert [one for one in absent(manifest) if one.startswith(sentence)] == list(absent(manifest))
    for file in bundle.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    shown = CliRunner().invoke(show, [str(tmp_path)])
    assert shown.exit_code == 0 and sentence in shown.output


def test_a_whole_model_lacks_nothing(bundle: Path) -> None:
    assert list(absent(load(str(bundle), verify=False).manifest)) == []


def test_roles_are_in_the_order_of_their_numbers() -> None:
    found = [nth("state", k) for k in (10, 2, 0)] + ["states[1]", "state", "state[x]"]
    assert numbered("state", found) == ["state[0]", "state[2]", "state[10]"]


def test_a_state_begins_with_its_start() -> None:
    tensors = [
        {"name": "b", "role": "state[1]", "shape": [1, 2, 3], "dtype": "float32", "start": [0.0, -1.5]},
        {"name": "a", "role": "state[0]", "shape": [1], "dtype": "int64", "start": -32},
    ]

    class Nothing:
        def run(self, method: str, *arrays: np.ndarray) -> list[np.ndarray]:
            return []

    state = Method(Nothing(), "step", {"inputs": tensors, "outputs": []}).state()
    assert list(state) == ["state[0]", "state[1]"]
    assert state["state[0]"].tolist() == [-32] and state["state[0]"].dtype == np.int64
    assert state["state[1]"].tolist() == [[[0.0] * 3, [-1.5] * 3]]
