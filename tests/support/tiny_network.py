"""A tiny network with random weights: it writes a few words, and its CTC head emits a symbol where it is loud."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from compress.export.export import export_speech
from compress.networks.checkpoint import Checkpoint, add_ctc
from compress.networks.chunking import Chunking, without_look_ahead
from compress.networks.whisper.frontend import SAMPLES_PER_POSITION
from compress.networks.whisper.network import Whisper
from compress.networks.whisper.stream import DELAY
from compress.quantize.plan import EXACT
from compress.recipe.bundle import write_bundle
from compress.recipe.recipe import Recipe
from device_asr.bundle.symbols import BLANK, SYMBOLS, spell
from device_asr.bundle.vocabulary import Vocabulary
from tests.support.dims import DIMS
from tests.support.paths import MODEL

CHUNKING = Chunking(8, 50, 1)
WORDS = 10  # in every text
SECOND = 16_000
VAD = MODEL / "vad.pte"


def tiny_checkpoint(speech: np.ndarray) -> Checkpoint:
    """Texts of `WORDS` words that depend on the audio; letters where `speech`, (n,) float32, is loud."""
    torch.manual_seed(0)
    network = Whisper(DIMS).requires_grad_(False)
    vocabulary = Vocabulary(tuple(f" w{i}".encode() for i in range(256)), (257, 259), 256, 258)
    decoder = network.decoder
    # positions say most of which word comes, or else the last word, whose embedding is also its logit, comes again
    decoder.positions.normal_(0, 5)
    decoder.positions[len(vocabulary.prompt) - 1 + WORDS :] = 60 * decoder.embedding.weight[vocabulary.end]
    decoder.layers[0].cross.out.weight.mul_(16)
    made = add_ctc(Checkpoint(DIMS, network.state_dict(), vocabulary, ((0, 1),)))
    _emit_where_loud(made, network, speech)
    return made


def _emit_where_loud(checkpoint: Checkpoint, network: Whisper, speech: np.ndarray) -> None:
    """Fits the CTC head by least squares: blank where it is quiet, one of two letters where it is loud."""
    speech = np.concatenate([np.zeros(SECOND, np.float32), speech, np.zeros(2 * SECOND, np.float32)])
    positions = len(speech) // 320
    pcm = np.concatenate([np.zeros(320, np.float32), speech[: positions * 320]])
    frames = network.encode(torch.from_numpy(pcm[None]), chunking=CHUNKING)[0][0, :positions].numpy()
    level = np.sqrt(np.mean(speech[: positions * 320].reshape(positions, 320) ** 2, axis=1))
    wanted = np.where(level > 0.2 * np.quantile(level, 0.95), 1.0, -1.0)
    known = np.concatenate([frames, np.ones((positions, 1), np.float32)], axis=1)
    fitted = np.linalg.lstsq(known.T @ known + 0.1 * np.eye(known.shape[1]), known.T @ wanted, rcond=None)[0]
    loud, shift = torch.from_numpy(fitted[:-1].astype(np.float32)), float(fitted[-1])
    turn = torch.randn(DIMS.state) * 0.2  # now this letter, now that one
    hidden, bias = checkpoint.weights["ctc.hidden.weight"], checkpoint.weights["ctc.out.bias"]
    hidden.zero_()[: 2 * DIMS.state] = torch.cat([torch.eye(DIMS.state), -torch.eye(DIMS.state)])
    checkpoint.weights["ctc.hidden.bias"].zero_()
    weight = torch.zeros(len(bias), DIMS.state)  # of the states: gelu(x) - gelu(-x) is x
    bias[:] = -100.0
    bias[BLANK] = 0.0
    for letter, way in zip(spell("ab"), (1, -1), strict=True):
        weight[letter], bias[letter] = loud + way * turn, shift
    assert bias.shape == (len(SYMBOLS) + 1,)
    checkpoint.weights["ctc.out.weight"][:, : 2 * DIMS.state] = torch.cat([weight, -weight], dim=1)


@torch.no_grad()
def at_once(network: Whisper, audio: np.ndarray, chunking: Chunking) -> torch.Tensor:
    """(positions, state) of the chunk-masked network over (n,) float32 of whole chunks; positions go round.

    Positions whose look-ahead is not over are encoded without it here, and with the look-ahead of others on the way.
    """
    pcm = torch.from_numpy(np.concatenate([np.zeros(DELAY, np.float32), audio])[None])
    count = len(audio) // SAMPLES_PER_POSITION
    encoder, known = network.chunk_encoder(), network.encoder.positions
    encoder.positions = known.repeat(-(-(count + 1) // len(known)), 1)
    try:
        mel = network.frontend(pcm, chunking.size)
        return without_look_ahead(encoder.forward_chunks(mel, chunking, torch.tensor([count])), chunking)[0, :count]
    finally:
        encoder.positions = known


def tiny_bundle(speech: np.ndarray, out: Path) -> Path:
    """A whole bundle of it with `stream`, fp32, with the real voice activity detector."""
    checkpoint = tiny_checkpoint(speech)
    program = export_speech(checkpoint, EXACT, speech, chunking=CHUNKING)
    write_bundle(
        Recipe("tiny", "none", quantize={"bits": 32, "embedding": 32}), checkpoint, program, VAD.read_bytes(), out
    )
    return out
