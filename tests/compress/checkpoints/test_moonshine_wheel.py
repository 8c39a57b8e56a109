"""Moonshine base out of its makers' wheel against ONNX Runtime, which runs the same files."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from compress.checkpoints.load import load_checkpoint
from compress.checkpoints.onnxruntime import DECODER, ENCODER, PACKAGE, moonshine_folder, read_tokenizer
from compress.data.labels import in_full_context
from compress.evaluate.accuracy import texts
from compress.networks.checkpoint import Checkpoint
from compress.networks.moonshine.tokens import token_encoder
from device_asr.audio.format import SAMPLE_RATE
from device_asr.metrics.clips import Clip
from device_asr.metrics.wer import word_errors
from tests.support.paths import ASSETS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="moonshine-cpp has a wheel for x86-64 alone"),
]

CLIPS = ("letter.flac", "long-sentence.flac", "timer.flac")


@pytest.fixture(scope="module")
def moonshine() -> Checkpoint:
    return load_checkpoint("moonshine-base")


def test_three_clips_as_onnxruntime(moonshine: Checkpoint) -> None:
    """States and logits, and the best token at every step."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    encoder, decoder = (
        onnxruntime.InferenceSession(str(moonshine_folder() / name), options) for name in (ENCODER, DECODER)
    )
    network, vocabulary, family = moonshine.network(), moonshine.vocabulary, moonshine.family_of()
    theirs = their_ids(vocabulary.tokens)
    for name in CLIPS:
        audio = soundfile.read(ASSETS / name, dtype="float32")[0][: 25 * SAMPLE_RATE]
        (wanted,) = encoder.run(None, {"input_values": audio[None]})
        with torch.no_grad():
            states, mask = network.encode(*in_full_context([audio], family))
        assert mask is not None and int((mask == 0).sum()) == wanted.shape[1]
        states = states[:, : wanted.shape[1]]
        assert np.abs(states.numpy() - wanted).max() < 5e-4
        (label,) = family.greedy(network, vocabulary, states, None)
        assert label.ended
        ids = label.tokens.tolist()
        with torch.no_grad():
            logits = network.decode(torch.tensor([[*vocabulary.prompt, *ids]]), states)[0].numpy()
        rows = [*theirs, 2, 1]  # the text, the end, the start
        expected = their_logits(decoder, wanted, [1, *(theirs[i] for i in ids)])[:, rows]
        assert np.abs(logits - expected).max() < 2e-3
        assert (logits.argmax(1) == expected.argmax(1)).all()
        assert token_encoder(vocabulary)(vocabulary.decode(ids)) == ids


def their_ids(tokens: tuple[bytes, ...]) -> list[int]:
    """The ids of the text tokens in the wheel's files: 3 to 258 are the bytes, the merges follow."""
    pieces = read_tokenizer(moonshine_folder() / "tokenizer.bin")
    assert [p.replace("\u2581".encode(), b" ") for p in pieces[3 : len(tokens) + 3]] == list(tokens)
    return list(range(3, len(tokens) + 3))


def their_logits(decoder: Any, states: np.ndarray, ids: list[int]) -> np.ndarray:
    """Logits after each of the ids, by the branch without a cache."""
    empty = {one.name: np.zeros((1, 8, 1, 52), np.float32) for one in decoder.get_inputs() if "past" in one.name}
    feeds = {"input_ids": np.array([ids], np.int64), "encoder_hidden_states": states, **empty}
    feeds["use_cache_branch"] = np.array([False])
    return np.asarray(decoder.run(["logits"], feeds)[0][0])


def test_it_writes_the_recordings_of_this_repository(moonshine: Checkpoint) -> None:
    """Greedy and without guards, 14 to 22 s at once."""
    clips = [Clip(ASSETS / name, reference(name)) for name in CLIPS]
    found = word_errors((clip.text or "", text) for clip, text in texts(moonshine, clips))
    assert found.wer is not None and found.wer < 0.1


def reference(name: str) -> str:
    lines = (ASSETS / name).with_suffix(".tsv").read_text().splitlines()
    return " ".join(line.split("\t")[-1] for line in lines)
