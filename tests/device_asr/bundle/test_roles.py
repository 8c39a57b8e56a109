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
from device_asr.decoding.alignment import token_starts
from device_asr.decoding.decoder import Decoder
from device_asr.recognition.stream_encoder import StreamEncoder


class Shuffled:
    """A session that takes inputs and gives outputs in the opposite order."""

    def __init__(self, bundle: Bundle) -> None:
        self._session = bundle.session("speech", 1)

    def run(self, method: str, *arrays: np.ndarray) -> list[np.ndarray]:
        return self._session.run(method, *arrays[::-1])[::-1]


class Without:
    """A session whose `decode` lacks the output at `index`."""

    def __init__(self, bundle: Bundle, index: int) -> None:
        self._session, self._index = bundle.session("speech", 1), index

    def run(self, method: str, *arrays: np.ndarray) -> list[np.ndarray]:
        outputs = self._session.run(method, *arrays)
        return [array for k, array in enumerate(outputs) if method != "decode" or k != self._index]


def changed(bundle: Path, change: Any) -> Bundle:
    """The bundle with a changed manifest, in memory."""
    opened = load(str(bundle), verify=False)
    manifest = json.loads(json.dumps(opened.manifest))
    change(manifest)
    return Bundle(opened.path, manifest)


def shuffle(manifest: dict[str, Any]) -> None:
    for method in manifest["programs"]["speech"]["methods"].values():
        for kind in ("inputs", "outputs"):
            method[kind].reverse()
            for k, tensor in enumerate(method[kind]):
                tensor["name"] = tensor["name"] if tensor["role"] == "constant" else f"x{k}"


def drop(role: str, method: str) -> Any:
    def change(manifest: dict[str, Any]) -> None:
        described = manifest["programs"]["speech"]["methods"][method]
        described["outputs"] = [tensor for tensor in described["outputs"] if tensor["role"] != role]

    return change


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


def test_without_alignment_words_are_spread_evenly(bundle: Path, audio: np.ndarray) -> None:
    plain, other = load(str(bundle), verify=False), changed(bundle, drop("alignment", "decode"))
    decoder = Decoder(other, Without(plain, 1), DecodingConfig())
    found = decoder.decode(decoder.encode(audio))
    whole = Decoder(plain, plain.session("speech", 1), DecodingConfig())
    assert found.tokens and found.tokens == whole.decode(whole.encode(audio)).tokens
    assert found.alignment.shape == (0, len(found.tokens) + 1, 100)
    assert np.ptp(np.diff(token_starts(found.alignment))) <= 1


def test_without_a_no_speech_token_its_probability_is_0(bundle: Path, audio: np.ndarray) -> None:
    other = changed(bundle, lambda manifest: manifest["speech"].update(no_speech=None))
    decoder = Decoder(other, other.session("speech", 1), DecodingConfig())
    assert decoder.decode(decoder.encode(audio)).no_speech == 0.0


def test_without_ctc_the_model_does_not_stream(bundle: Path) -> None:
    assert load(str(bundle), verify=False).stream is not None
    assert changed(bundle, drop("ctc", "stream")).stream is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (drop("alignment", "decode"), "No word times: the program has no alignment output"),
        (drop("ctc", "stream"), "No streaming and no custom words: the program has no ctc output of the method stream"),
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
