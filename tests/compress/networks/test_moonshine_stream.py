"""Moonshine in chunks: what the program with state computes is the chunk-masked network on the whole audio."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compress.networks.chunking import Chunking
from compress.networks.moonshine.dims import moonshine_dims
from compress.networks.moonshine.encoder import positions
from compress.networks.moonshine.frontend import SAMPLES_PER_POSITION, first_frames, running_moments, whole_moments
from compress.networks.moonshine.network import Moonshine
from compress.networks.moonshine.stream import DELAY, StreamProgram, example
from device_asr.errors import UsageError
from tests.support.moonshine import random_checkpoint


@pytest.fixture(scope="module")
def network() -> Moonshine:
    made = random_checkpoint().network()
    assert isinstance(made, Moonshine)
    return made


@pytest.fixture(scope="module")
def hearing() -> Moonshine:
    """With a CTC head that reads two layers and a position on each side."""
    made = random_checkpoint((0,), 1).network()
    assert isinstance(made, Moonshine)
    return made


def noise(positions: int, seed: int = 0) -> torch.Tensor:
    """(1, samples) that grow louder, so that moments change."""
    count = SAMPLES_PER_POSITION * positions
    loudness = np.linspace(0.02, 0.4, count)
    return torch.from_numpy((np.random.default_rng(seed).normal(0, 1, (1, count)) * loudness).astype(np.float32))


def streamed(network: Moonshine, pcm: torch.Tensor, chunking: Chunking) -> list[torch.Tensor]:
    """The CTC logits (block, symbols) of every call of the program."""
    program, state = StreamProgram(network, chunking).eval(), example(moonshine_dims(network.dims), chunking)[1:]
    outputs = []
    with torch.no_grad():
        for chunk in pcm.split(SAMPLES_PER_POSITION * chunking.size, dim=1):
            out = program(chunk, *state)
            outputs.append(out[0])
            state = program.state_of(out)
    return outputs


def behind_silence(pcm: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The audio as the program reads it, and its length."""
    delayed = torch.nn.functional.pad(pcm, (DELAY, SAMPLES_PER_POSITION * 2 - DELAY))
    return delayed, torch.tensor([pcm.shape[1] + DELAY])


@pytest.mark.parametrize(
    ("size", "left", "ahead", "chunks"),
    [(4, 8, 0, 6), (8, 20, 0, 4), (2, 0, 0, 9), (1, 3, 0, 9), (4, 8, 1, 6), (2, 5, 3, 9), (8, 16, 1, 12), (4, 0, 2, 5)],
)
def test_chunk_by_chunk_equals_the_masked_network_at_once(
    network: Moonshine, size: int, left: int, ahead: int, chunks: int
) -> None:
    chunking = Chunking(size, left, ahead)
    pcm = noise(size * chunks, size)
    found = torch.cat([block[:size] for block in streamed(network, pcm, chunking)])[size * ahead :]
    delayed, lengths = behind_silence(pcm)
    with torch.no_grad():
        wanted = network.ctc(network.encode(delayed, lengths, chunking)[0])[0][: size * (chunks - ahead)]
    assert torch.allclose(found, wanted, atol=2e-4), (found - wanted).abs().max()


@pytest.mark.parametrize(("size", "left", "ahead", "chunks"), [(4, 8, 1, 6), (2, 5, 3, 9), (4, 8, 0, 6), (1, 4, 1, 8)])
def test_symbols_of_several_layers_and_positions_come_chunk_by_chunk(
    hearing: Moonshine, size: int, left: int, ahead: int, chunks: int
) -> None:
    chunking = Chunking(size, left, ahead)
    pcm = noise(size * chunks, size)
    found = torch.stack(streamed(hearing, pcm, chunking)[ahead:])
    with torch.no_grad():
        blocks, _ = hearing.encode_chunks(*behind_silence(pcm), chunking)
        wanted = hearing.symbols(blocks, chunking)[0, : chunks - ahead]
    assert torch.allclose(found, wanted, atol=2e-4), (found - wanted).abs().max()


def test_symbols_that_read_more_positions_than_a_chunk_has_are_refused(hearing: Moonshine) -> None:
    hearing.ctc.reach, reach = 3, hearing.ctc.reach  # type: ignore[union-attr]
    try:
        with pytest.raises(UsageError, match="at least 3 positions"):
            StreamProgram(hearing, Chunking(2, 4, 1))
    finally:
        hearing.ctc.reach = reach  # type: ignore[union-attr]


def test_the_first_blocks_chunks_share_their_moments() -> None:
    """Behind it a chunk's are those of all audio to its end."""
    first = torch.randn(1, 6 * 10 - 1, 3, generator=torch.Generator().manual_seed(0))
    counts = torch.tensor([first.shape[1]])
    mean, square = running_moments(first, counts, Chunking(2, 4, 1))
    of_block = first[:, : 6 * 4 + 7].mean()
    assert torch.allclose(mean[0, :9], of_block.expand(9, 1)), "frames 0 to 8 come with positions 0 to 3"
    assert torch.allclose(mean[0, 9:13], first[:, : 6 * 6 + 7].mean().expand(4, 1))
    assert torch.allclose(mean[0, -1], whole_moments(first, None)[0][0]), "no frame is behind the last chunk"
    assert square.shape == mean.shape == (1, 18, 1)


def test_the_future_changes_nothing(network: Moonshine) -> None:
    pcm = noise(40)
    louder = pcm.clone()
    louder[:, 30 * SAMPLES_PER_POSITION :] *= 5
    chunking = Chunking(4, 8, 1)
    with torch.no_grad():
        quiet, loud = (network.encode(one, chunking=chunking)[0] for one in (pcm, louder))
    seen = 30 - 2 - 4  # whole positions before the louder part, less the look-ahead
    assert torch.equal(quiet[:, : seen // 4 * 4], loud[:, : seen // 4 * 4])
    assert not torch.allclose(quiet[:, 30:], loud[:, 30:])


def test_padding_changes_nothing(network: Moonshine) -> None:
    """Neither whole nor in chunks: attention and normalization see the audio alone."""
    pcm = torch.cat([noise(40), noise(40, 1)])
    short = 23 * SAMPLES_PER_POSITION + 100
    lengths = torch.tensor([pcm.shape[1], short])
    alone = torch.nn.functional.pad(pcm[1:, :short], (0, SAMPLES_PER_POSITION - 100))
    pcm[1, short:] = 0.3
    count = int(positions(lengths)[1])
    assert count == 21, "a position reads 895 samples"
    for chunking in (None, Chunking(4, 8, 1)):
        with torch.no_grad():
            both, hidden = network.encode(pcm, lengths, chunking)
            one = network.encode(alone, lengths[1:], chunking)[0]
        assert hidden is not None and (hidden[1] == 0).sum() == count
        assert torch.allclose(both[1, :count], one[0, :count], atol=1e-5)


def test_first_frames_are_those_of_the_convolution() -> None:
    for samples in (127, 128, 190, 191, 1000):
        wanted = torch.nn.functional.conv1d(torch.zeros(1, 1, samples), torch.zeros(1, 1, 127), stride=64).shape[2]
        assert int(first_frames(torch.tensor([samples]))) == wanted
