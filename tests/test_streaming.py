"""Hearing in chunks: what the program with state computes is the chunk-masked network on the whole sound."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from compress.checkpoints import Checkpoint, add_ctc  # noqa: E402
from compress.chunks import MASKED, Chunking, chunk_mask  # noqa: E402
from compress.frontend import LogMel, normalise_running  # noqa: E402
from compress.streaming import DELAY, StreamProgram, example  # noqa: E402
from compress.whisper import Dims, LayerDims, Whisper  # noqa: E402
from device_asr.errors import UsageError  # noqa: E402
from device_asr.tokenizer import Vocabulary  # noqa: E402

DIMS = Dims(n_mels=8, state=32, head_dim=16, audio_ctx=40, text_ctx=64, vocab=260,
            encoder=(LayerDims(2, 64), LayerDims(1, 64)), decoder=(LayerDims(2, 64, 2),))


@pytest.fixture(scope="module")
def network() -> Whisper:
    torch.manual_seed(0)
    vocabulary = Vocabulary(tuple(bytes([b]) for b in range(256)),
                            {"end": 256, "start": 257, "no_speech": 258, "no_timestamps": 259})
    checkpoint = add_ctc(Checkpoint(DIMS, Whisper(DIMS).state_dict(), vocabulary, ((0, 1),)))
    made = checkpoint.network()
    torch.nn.init.normal_(made.ctc.weight)
    return made


def test_a_chunk_sees_itself_and_its_past() -> None:
    mask = chunk_mask(6, Chunking(2, 3))
    assert (mask == 0).int().tolist() == [[1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0],
                                          [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0],
                                          [0, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1]]
    assert mask.min() == MASKED
    with pytest.raises(UsageError):
        Chunking(0, 3)


def test_loudness_of_the_future_changes_nothing() -> None:
    power = torch.from_numpy(np.random.default_rng(0).normal(-4, 2, (1, 33, 8)).astype(np.float32))
    louder = power.clone()
    louder[:, 17:] += 10.0
    quiet, loud = normalise_running(power, 4), normalise_running(louder, 4)
    assert torch.equal(quiet[:, :17], loud[:, :17])
    assert not torch.equal(quiet[:, 17:], loud[:, 17:])


@pytest.mark.parametrize(("size", "left", "chunks"), [(4, 8, 6), (8, 20, 4), (2, 0, 9), (8, 16, 12)])
def test_chunk_by_chunk_equals_the_masked_network_at_once(network: Whisper, size: int, left: int, chunks: int) -> None:
    """Also beyond the last position the encoder knows (40): positions begin again."""
    chunking = Chunking(size, left)
    pcm = torch.from_numpy(np.random.default_rng(size).normal(0, 0.1, (1, 320 * size * chunks)).astype(np.float32))
    program, state = StreamProgram(network, chunking).eval(), example(DIMS, chunking)[1:]
    heard = []
    with torch.no_grad():
        for k in range(chunks):
            out = program(pcm[:, 320 * size * k : 320 * size * (k + 1)], *state)
            heard.append(out[0])
            state = program.state_of(out)
        whole = torch.cat([torch.zeros(1, DELAY), pcm], dim=1)
        mel = network.frontend(whole, size)
        count = mel.shape[1] // 2
        x = network.encoder.convolve(mel)
        x = x + network.encoder.positions.repeat(3, 1)[:count]
        for layer in network.encoder.layers:
            x = layer(x, chunk_mask(count, chunking))
        wanted = network.ctc(network.encoder.norm(x))[0, : size * chunks]
    assert torch.allclose(torch.cat(heard), wanted, atol=2e-4), (torch.cat(heard) - wanted).abs().max()


def test_positions_may_begin_anywhere(network: Whisper) -> None:
    mel = LogMel(8)(torch.randn(1, 320 * 30) * 0.1)
    with torch.no_grad():
        assert not torch.equal(network.encoder(mel), network.encoder(mel, start=25))
        assert torch.equal(network.encoder(mel, start=40), network.encoder(mel))
