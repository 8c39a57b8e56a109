"""Through the .pte: chunks with state are the chunk-masked network, at any split of the audio."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.export.export import SpeechProgram, export_speech
from compress.networks.checkpoint import Checkpoint, add_ctc
from compress.networks.chunking import Chunking
from compress.networks.dims import LayerDims
from compress.networks.whisper.dims import WhisperDims
from compress.networks.whisper.network import Whisper
from compress.quantize.plan import EXACT
from device_asr.bundle.method import open_program
from device_asr.bundle.symbols import SYMBOLS, path_text, spell, spoken
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.decoding.ctc import GreedyCtc
from device_asr.recognition.stream_encoder import StreamEncoder
from tests.support.programs import exported_once
from tests.support.tiny_network import at_once

DIMS = WhisperDims(
    n_mels=8,
    state=32,
    head_dim=16,
    audio_ctx=1500,
    text_ctx=448,
    vocab=260,
    encoder=(LayerDims(2, 64), LayerDims(2, 64)),
    decoder=(LayerDims(2, 64, 2),),
)
CHUNKING = Chunking(4, 12, 1)
CHUNKS = 9
NOTHING = np.zeros(0, np.float32)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    vocabulary = Vocabulary(tuple(bytes([b]) for b in range(256)), (257, 259), 256, 258)
    made = add_ctc(Checkpoint(DIMS, Whisper(DIMS).state_dict(), vocabulary, ((0, 1),)))
    made.weights["ctc.out.weight"].normal_()
    return made


@pytest.fixture(scope="module")
def program(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> SpeechProgram:
    return exported_once(
        tmp_path_factory, "stream-encoder", lambda: export_speech(checkpoint, EXACT, chunking=CHUNKING)
    )


@pytest.fixture(scope="module")
def encoder(program: SpeechProgram, tmp_path_factory: pytest.TempPathFactory) -> StreamEncoder:
    path = tmp_path_factory.mktemp("pte") / "model.pte"
    path.write_bytes(program.data)
    return StreamEncoder(program.methods["stream"], open_program(path, program.methods, program.constants), 100)


@pytest.fixture(scope="module")
def audio() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, 320 * CHUNKING.size * CHUNKS).astype(np.float32)


@pytest.fixture(scope="module")
def states(checkpoint: Checkpoint, audio: np.ndarray) -> torch.Tensor:
    """(positions, state) of the chunk-masked network over the whole audio."""
    return at_once(checkpoint.network(), audio, CHUNKING)


def test_what_a_call_returned_is_left_alone_by_the_next(encoder: StreamEncoder, audio: np.ndarray) -> None:
    """So that the state need not be copied: 3 MB a chunk."""
    stream, chunk = encoder._stream, audio[None, : encoder.chunk_samples]
    returned = stream({"pcm": chunk, **stream.state()})
    before = {role: array.copy() for role, array in returned.items()}
    stream({"pcm": -2 * chunk, **{role: returned[role] for role in stream.state()}})
    for role, was in before.items():
        np.testing.assert_array_equal(returned[role], was)


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, 320 * CHUNKING.size * CHUNKS), max_size=12))
def test_at_any_split_it_is_the_masked_network(
    cuts: list[int], encoder: StreamEncoder, checkpoint: Checkpoint, audio: np.ndarray, states: torch.Tensor
) -> None:
    encoder.begin(NOTHING)
    chunks = 0
    for piece in np.split(audio, sorted(cuts)):
        encoder.feed(piece)
        chunks += encoder.completed
    assert chunks == encoder.chunks == CHUNKS and encoder.positions == CHUNKS * CHUNKING.size
    assert encoder.settled == (CHUNKS - 1) * CHUNKING.size, "the last chunk has no look-ahead yet"
    cross = checkpoint.network().decoder.layers[0].cross
    with torch.no_grad():
        keys, values = cross.keys_values(states[None])
    encoded = encoder.encoded()
    settled = encoder.settled
    assert np.allclose(encoded.cross.keys[0][:, :, :settled], keys.numpy()[:, :, :settled], atol=2e-4)
    assert np.allclose(encoded.cross.values[0][:, :settled], values.numpy()[:, :settled], atol=2e-4)


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, 320 * CHUNKING.size * CHUNKS), max_size=6))
def test_a_preview_does_not_change_later_outputs(cuts: list[int], encoder: StreamEncoder, audio: np.ndarray) -> None:
    def outputs(previews: bool) -> tuple[np.ndarray, ...]:
        encoder.begin(NOTHING)
        for piece in np.split(audio, sorted(cuts)):
            encoder.feed(piece)
            if previews and encoder.waiting:
                encoder.preview()
        cross = encoder.encoded().cross
        return (*cross.keys, *cross.values, encoder.scores[: encoder.positions], np.array(encoder.last_symbol.frame))

    for found, wanted in zip(outputs(True), outputs(False), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_preview_is_what_silence_behind_the_audio_would_be(encoder: StreamEncoder, audio: np.ndarray) -> None:
    encoder.begin(audio[: 2 * encoder.chunk_samples + 700])
    encoder.preview()
    assert encoder.positions == 2 * CHUNKING.size + 2 and encoder.settled == CHUNKING.size, "700 samples: 2 positions"
    found = encoder.encoded()
    encoder.end()
    filled = encoder.encoded(2 * encoder.chunk_samples + 640 - encoder._delay)
    assert found.positions == filled.positions == encoder.positions - 2
    for now, later in zip(found.cross.keys + found.cross.values, filled.cross.keys + filled.cross.values, strict=True):
        np.testing.assert_array_equal(now, later)


def test_parity_is_reported(program: SpeechProgram) -> None:
    assert program.parity["stream"]["pte_vs_fp32_rms"] < 1e-3


def test_waiting_samples_are_encoded_with_silence_behind_them(encoder: StreamEncoder, audio: np.ndarray) -> None:
    encoder.begin(audio[:100])
    assert encoder.chunks == encoder.completed == 0
    encoder.end()
    assert encoder.chunks == 1
    encoder.end()
    assert encoder.chunks == 1, "nothing is left"


def test_an_utterance_longer_than_the_capacity_is_encoded_on_and_not_gathered(encoder: StreamEncoder) -> None:
    encoder.begin(np.zeros(320 * 120, np.float32))
    assert encoder.positions == 100 and encoder.chunks == 30
    assert encoder.encoded().positions == 100


def test_letters_are_collapsed_at_any_split() -> None:
    path = [0, 3, 3, 0, 3, 1, 1, 4, 0]
    scores = np.eye(len(SYMBOLS) + 1, dtype=np.float32)[path]
    assert path_text(scores.argmax(axis=1).tolist()) == "aa b"
    ctc = GreedyCtc()
    symbols = [symbol for row in scores for symbol in ctc.feed(row[None])]
    assert [(symbol.symbol, symbol.frame) for symbol in symbols] == [("a", 1), ("a", 4), (" ", 5), ("b", 7)]


def test_texts_become_what_is_spoken() -> None:
    assert spoken("Dear Priya, it’s 5 o'clock – café!") == "dear priya it's 5 o'clock cafe"
    assert [SYMBOLS[i - 1] for i in spell("A b")] == ["a", " ", "b"]
