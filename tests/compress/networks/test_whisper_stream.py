"""Hearing in chunks: what the program with state computes is the chunk-masked network on the whole audio."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from compress.networks.checkpoint import Checkpoint, add_adapters, add_ctc
from compress.networks.chunking import Chunking, attended, with_left_context
from compress.networks.dims import LayerDims
from compress.networks.whisper.dims import WhisperDims
from compress.networks.whisper.frontend import LogMel, normalize_running
from compress.networks.whisper.network import Whisper
from compress.networks.whisper.stream import StreamProgram, example
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.errors import UsageError
from tests.support.tiny_network import at_once

DIMS = WhisperDims(
    n_mels=8,
    state=32,
    head_dim=16,
    audio_ctx=40,
    text_ctx=64,
    vocab=260,
    encoder=(LayerDims(2, 64), LayerDims(1, 64)),
    decoder=(LayerDims(2, 64, 2),),
)


@pytest.fixture(scope="module")
def network() -> Whisper:
    torch.manual_seed(0)
    vocabulary = Vocabulary(tuple(bytes([b]) for b in range(256)), (257, 259), 256, 258)
    checkpoint = add_adapters(add_ctc(Checkpoint(DIMS, Whisper(DIMS).state_dict(), vocabulary, ((0, 1),))), 4)
    made = checkpoint.network()
    torch.nn.init.normal_(made.ctc.out.weight)
    for layer in made.adapters:
        for name, weight in layer.named_parameters():
            if ".up." in name:
                torch.nn.init.normal_(weight, std=0.2)
    return made


def test_a_chunk_reads_its_past_itself_and_what_is_ahead() -> None:
    assert attended(5, Chunking(2, 3, 0)).tolist() == [[-3, -2, -1, 0, 1], [-1, 0, 1, 2, 3], [1, 2, 3, 4, 5]]
    assert attended(4, Chunking(2, 1, 1)).tolist() == [[-1, 0, 1, 2, 3], [1, 2, 3, 4, 5]]


def test_the_left_context_holds_final_states_only() -> None:
    """Not the provisional states of an earlier chunk's look-ahead; zeros before the first."""
    parts = torch.tensor([[1, 2, 30], [3, 4, 50], [5, 6, 70]])
    assert with_left_context(parts, Chunking(2, 3, 1)).tolist() == [
        [0, 0, 0, 1, 2, 30],
        [0, 1, 2, 3, 4, 50],
        [2, 3, 4, 5, 6, 70],
    ]
    assert with_left_context(parts, Chunking(2, 0, 1)) is parts


@pytest.mark.parametrize("wrong", [(0, 3, 0), (2, -1, 0), (2, 3, -1)])
def test_what_chunks_cannot_be(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match="Chunks: wanted"):
        Chunking(*wrong)


def test_loudness_of_the_future_changes_nothing() -> None:
    power = torch.from_numpy(np.random.default_rng(0).normal(-4, 2, (1, 33, 8)).astype(np.float32))
    louder = power.clone()
    louder[:, 17:] += 10.0
    quiet, loud = normalize_running(power, 4), normalize_running(louder, 4)
    assert torch.equal(quiet[:, :17], loud[:, :17])
    assert not torch.equal(quiet[:, 17:], loud[:, 17:])


@pytest.mark.parametrize(
    ("size", "left", "ahead", "chunks"),
    [
        (4, 8, 0, 6),
        (8, 20, 0, 4),
        (2, 0, 0, 9),
        (8, 16, 0, 12),
        (4, 8, 1, 6),
        (2, 5, 3, 9),
        (8, 16, 1, 12),
        (4, 0, 2, 5),
    ],
)
def test_chunk_by_chunk_equals_the_masked_network_at_once(
    network: Whisper, size: int, left: int, ahead: int, chunks: int
) -> None:
    """Also beyond the last position the encoder knows (40): positions begin again."""
    chunking = Chunking(size, left, ahead)
    pcm = np.random.default_rng(size).normal(0, 0.1, 320 * size * chunks).astype(np.float32)
    program, state = StreamProgram(network, chunking).eval(), example(DIMS, chunking)[1:]
    outputs = []
    with torch.no_grad():
        for chunk in torch.from_numpy(pcm[None]).split(320 * size, dim=1):
            out = program(chunk, *state)
            outputs.append(out[0][:size])
            state = program.state_of(out)
        wanted = network.ctc(at_once(network, pcm, chunking))[: size * (chunks - ahead)]
    found = torch.cat(outputs)[size * ahead :]
    assert torch.allclose(found, wanted, atol=2e-4), (found - wanted).abs().max()


def test_adapters_change_encoding_in_chunks_and_nothing_else(network: Whisper) -> None:
    pcm = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (1, 320 * 24)).astype(np.float32))
    plain = Whisper(replace(DIMS, ctc=network.dims.ctc)).eval()
    plain.load_state_dict({name: weight for name, weight in network.state_dict().items() if "adapters" not in name})
    with torch.no_grad():
        assert torch.equal(network.encode(pcm)[0], plain.encode(pcm)[0])
        assert not torch.allclose(
            network.encode(pcm, chunking=Chunking(4, 8, 1))[0],
            plain.encode(pcm, chunking=Chunking(4, 8, 1))[0],
            atol=0.01,
        )
    shared = {id(weight) for weight in network.parameters()}
    assert {id(weight) for weight in network.chunk_encoder().parameters()} <= shared, "no weight is there twice"


def test_the_whole_clip_is_encoded_as_its_chunks_are(network: Whisper) -> None:
    pcm = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (2, 320 * 24)).astype(np.float32))
    chunking = Chunking(4, 8, 1)
    with torch.no_grad():
        both, hidden = network.encode(pcm, torch.tensor([320 * 24, 320 * 13]), chunking)
        alone = network.encode(pcm[1:, : 320 * 13], chunking=chunking)[0][0]
    assert both.shape == (2, 24, DIMS.state) and (hidden[1] == 0).sum() == 13
    assert torch.allclose(both[1, :8], alone[:8], atol=2e-4), "later ones attend to the end of the audio in position 12"


def test_positions_may_begin_anywhere(network: Whisper) -> None:
    mel = LogMel(8)(torch.randn(1, 320 * 30) * 0.1)
    with torch.no_grad():
        assert not torch.equal(network.encoder(mel), network.encoder(mel, start=25))
        assert torch.equal(network.encoder(mel, start=40), network.encoder(mel))
