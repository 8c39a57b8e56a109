"""Quantization on tiny random networks: plans, simulation, training through it, sensitivity, and what is exported."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compress.export.export import SpeechProgram, export_speech
from compress.export.tied_embedding import TieError, locate
from compress.networks.checkpoint import Checkpoint, add_ctc
from compress.networks.dims import Dims, LayerDims
from compress.networks.embedding import lookup, stored_form
from compress.networks.family import family_of
from compress.networks.network import SpeechNetwork
from compress.quantize.apply import is_quantized, quantize, quantize_linears
from compress.quantize.plan import EXACT, QuantizationPlan, Width, report
from compress.quantize.qat import prepare_qat, simulate
from compress.report.sensitivity import block, mixed_plan, sensitivity
from device_asr.bundle.method import open_program
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.errors import UsageError
from tests.support.dims import DIMS
from tests.support.moonshine import DIMS as MOONSHINE
from tests.support.programs import whole_logits

OF_FAMILY: dict[str, Dims] = {"whisper": DIMS, "moonshine": replace(MOONSHINE, encoder=(LayerDims(2, 64),) * 2)}
# family -> a layer whose columns are no whole groups of 32, its columns, and a convolution with whole groups
COLUMNS = {"whisper": ("encoder.conv1", 24, "encoder.conv2"), "moonshine": ("encoder.conv2", 112, "encoder.conv1")}
SPECIAL = {"prompt": (257, 259), "end": 256, "no_speech": 258}
MIXED = QuantizationPlan(
    8,
    layers=(("encoder.layers.*", Width(4, 32)), ("decoder.layers.0.ffn.down", Width(32))),
    embedding=4,
    embedding_group=32,
)


def random_checkpoint(dims: Dims) -> Checkpoint:
    torch.manual_seed(0)
    vocabulary = Vocabulary(tuple(bytes([b]) for b in range(256)), **SPECIAL)
    return Checkpoint(dims, family_of(dims).network(dims).state_dict(), vocabulary, ((0, 1), (0, 0)))


@pytest.fixture(scope="module", params=OF_FAMILY)
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    return random_checkpoint(OF_FAMILY[request.param])


@pytest.fixture(scope="module")
def given() -> tuple[Tensor, Tensor]:
    """PCM (2, 7680), whole positions of both families, and tokens (2, 6)."""
    rng = torch.Generator().manual_seed(1)
    return torch.randn(2, 7680, generator=rng) * 0.1, torch.randint(0, 256, (2, 6), generator=rng)


@pytest.fixture(scope="module")
def loss(checkpoint: Checkpoint, given: tuple[Tensor, Tensor]) -> Callable[[nn.Module], float]:
    """Relative RMS distance of a network's logits from those of the fp32 network."""
    with torch.no_grad():
        exact = checkpoint.network()(*given)

    def evaluate(network: nn.Module) -> float:
        with torch.no_grad():
            return float((network(*given) - exact).norm() / exact.norm())

    return evaluate


# -- plans -----------------------------------------------------------------------------------------


def test_later_patterns_win_and_the_rest_has_the_default(checkpoint: Checkpoint) -> None:
    plan = QuantizationPlan(
        8, layers=(("encoder.*", Width(4, 32)), ("encoder.layers.0.ffn.*", Width(32)), ("encoder.conv*", Width(8)))
    )
    widths = plan.widths(checkpoint.network())
    assert widths["encoder.layers.0.attention.query"] == Width(4, 32)
    assert widths["encoder.layers.0.ffn.up"] == Width(32)
    assert widths["encoder.conv1"] == widths["decoder.layers.0.cross.out"] == Width(8)


def test_a_default_of_four_bits_leaves_eight_to_layers_without_whole_groups(checkpoint: Checkpoint) -> None:
    widths = QuantizationPlan(4, 32).widths(checkpoint.network())
    odd, columns, even = COLUMNS[checkpoint.family]
    assert widths[odd] == Width(8)
    assert widths[even] == Width(4, 32)
    with pytest.raises(UsageError, match=rf"{odd} has {columns} columns"):
        QuantizationPlan(layers=((odd, Width(4, 32)),)).widths(checkpoint.network())


def test_a_pattern_that_matches_nothing_names_the_nearest(checkpoint: Checkpoint) -> None:
    plan = QuantizationPlan(layers=(("decoder.layers.0.crosss.query", Width(32)),))
    with pytest.raises(UsageError, match=r"nearest is 'decoder\.layers\.0\.cross\.query"):
        plan.widths(checkpoint.network())


@pytest.mark.parametrize("plan", [QuantizationPlan(), MIXED, EXACT, QuantizationPlan(4, 64, activations="static")])
def test_a_plan_survives_json(plan: QuantizationPlan) -> None:
    assert QuantizationPlan.from_table(json.loads(json.dumps(plan.to_table()))) == plan


def test_a_plan_is_read_from_a_recipe() -> None:
    table = tomllib.loads("""
        [quantize]
        bits = 8
        embedding = 4
        embedding_group = 32
        layers = [{name = "encoder.layers.*", bits = 4, group = 32}, {name = "decoder.layers.0.ffn.down", bits = 32}]
    """)["quantize"]
    assert QuantizationPlan.from_table(table) == MIXED


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"bits": 5}, "wanted 4, 8 or 32, found 5"),
        ({"bits": "8"}, "found '8'"),
        ({"bits": 8, "group": 32}, "with 4 bits"),
        ({"bits": 4, "group": 48}, "found 48"),
        ({"embedding": 2}, "found 2"),
        ({"embedding_group": 64}, "with 4 bits"),
        ({"activations": "statc"}, "wanted dynamic or static, found 'statc'"),
        ({"bit": 8}, "no setting 'bit'; the nearest is bits"),
        ({"layers": {"a": 8}}, "wanted a list of tables"),
        ({"layers": [{"name": "a"}]}, "wanted name and bits"),
        ({"layers": [{"name": "a", "bits": 7}]}, "found 7"),
        ({"layers": [{"name": "a", "bit": 8}]}, "nearest is bits"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(table: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        QuantizationPlan.from_table(table)


def test_the_report_counts_layers_and_bytes(checkpoint: Checkpoint) -> None:
    exact, mixed = report(checkpoint.network(), EXACT), report(checkpoint.network(), MIXED)
    assert exact.bytes_after == exact.bytes_before == mixed.bytes_before
    dims = checkpoint.dims
    convolutions = {"whisper": 2, "moonshine": 3}[checkpoint.family]
    assert mixed.layers == {8: convolutions + 9, 4: 6 * len(dims.encoder), 32: 1}
    table = dims.vocab * (dims.state // 2 + 2 * dims.state // 32)  # two numbers a byte, a bfloat16 scale a group
    without = report(checkpoint.network(), QuantizationPlan(8, layers=MIXED.layers, embedding=32))
    assert without.bytes_after - mixed.bytes_after == 4 * dims.vocab * dims.state - table


# -- for good, and simulated -------------------------------------------------------------------------


def test_fewer_bits_are_further_from_fp32(checkpoint: Checkpoint, loss: Callable[[nn.Module], float]) -> None:
    errors = [
        loss(simulate(checkpoint, plan))
        for plan in (
            EXACT,
            QuantizationPlan(),
            QuantizationPlan(4, 32),
            QuantizationPlan(4, 32, embedding=4, embedding_group=32),
        )
    ]
    assert errors[0] == 0.0
    assert errors == sorted(errors) and len(set(errors)) == 4


@pytest.mark.parametrize("plan", [QuantizationPlan(), QuantizationPlan(4, 32), QuantizationPlan(4), MIXED])
def test_the_simulation_is_the_quantized_network(
    checkpoint: Checkpoint, given: tuple[Tensor, Tensor], plan: QuantizationPlan
) -> None:
    with torch.no_grad():
        wanted = quantize(checkpoint.network().requires_grad_(False), plan).encode(given[0])[0]
        found = simulate(checkpoint, plan).encode(given[0])[0]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_fp32_changes_nothing_and_static_layers_are_left_to_calibration(checkpoint: Checkpoint) -> None:
    for plan in (EXACT, QuantizationPlan(8, activations="static")):
        network = quantize(checkpoint.network(), plan)
        assert not any(is_quantized(child) for child in network.modules() if isinstance(child, nn.Linear))
    with pytest.raises(UsageError, match="dynamic"):
        simulate(checkpoint, QuantizationPlan(activations="static"))


# -- training through it -----------------------------------------------------------------------------


def test_a_prepared_network_trains_and_gives_plain_weights_back(
    checkpoint: Checkpoint, given: tuple[Tensor, Tensor]
) -> None:
    plan = QuantizationPlan(4, 32, embedding=4, embedding_group=32)
    network = prepare_qat(checkpoint.network().train(), plan)
    assert list(network.state_dict()) == list(checkpoint.weights)  # averages and checkpoints keep their names
    with torch.no_grad():
        torch.testing.assert_close(network(*given), simulate(checkpoint, plan)(*given))
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-2)
    losses, wanted = [], given[1].roll(1, 1)  # tied logits know the last token already
    for _ in range(5):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(*given).flatten(0, 1), wanted.flatten())
        loss.backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    rounded = network(*given).detach()
    trained = Checkpoint(checkpoint.dims, network.state_dict(), checkpoint.vocabulary, ())
    assert not torch.equal(trained.weights["decoder.embedding.weight"], checkpoint.weights["decoder.embedding.weight"])
    with torch.no_grad():
        torch.testing.assert_close(simulate(trained, plan)(*given), rounded)  # its weights are float, and round alike


# -- sensitivity -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def uneven(checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint in which one layer has a huge value in each group: 4 bits leave nothing of the others."""
    weights = {name: value.clone() for name, value in checkpoint.weights.items()}
    weights["decoder.layers.0.ffn.up.weight"][:, 0] = 20.0
    for kind in ("weight", "bias"):
        if (norm := weights.get(f"decoder.layers.0.ffn_norm.{kind}")) is not None:
            norm[0] = 0.0
    return replace(checkpoint, weights=weights, alignment_heads=())


def test_the_layer_that_suffers_is_found_and_given_the_bytes(uneven: Checkpoint, given: tuple[Tensor, Tensor]) -> None:
    with torch.no_grad():
        exact = uneven.network()(*given)

    def evaluate(network: SpeechNetwork) -> float:
        assert not network.training
        with torch.no_grad():
            return float((network(*given) - exact).norm() / exact.norm())

    plan = QuantizationPlan(4, 32)
    rows = sensitivity(uneven, plan, evaluate, width=Width(8))
    assert rows[0].name == max(rows, key=lambda row: row.gain).name
    sensitive = next(row for row in rows if row.name == "decoder.layers.0.ffn.up")
    assert sensitive.gain == max(row.gain for row in rows if row.name != "decoder.embedding")
    rows_of_up = len(uneven.weights["decoder.layers.0.ffn.up.weight"])  # Moonshine's makes gates too
    assert sensitive.extra_bytes == rows_of_up * (32 + 4 - (32 // 2 + 2))
    better = mixed_plan(plan, rows, sensitive.extra_bytes, "decoder.embedding")
    assert better.widths(uneven.network())["decoder.layers.0.ffn.up"] == Width(8)
    grown = report(uneven.network(), better).bytes_after - report(uneven.network(), plan).bytes_after
    assert 0 < grown <= sensitive.extra_bytes
    assert evaluate(simulate(uneven, better)) < rows[0].planned
    assert mixed_plan(plan, rows, 0, "decoder.embedding") == plan


def test_layers_of_a_block_go_together(checkpoint: Checkpoint, loss: Callable[[nn.Module], float]) -> None:
    seen = []
    rows = sensitivity(
        checkpoint,
        QuantizationPlan(),
        loss,
        group=block,
        progress=lambda row, done, of: seen.append((row.name, done, of)),
    )
    convolutions = ["conv1", "conv2", *(["conv3"] if checkpoint.family == "moonshine" else [])]
    wanted = {f"encoder.{name}" for name in convolutions}
    wanted |= {
        f"encoder.layers.{i}.{part}" for i in range(len(checkpoint.dims.encoder)) for part in ("attention", "ffn")
    }
    wanted |= {f"decoder.layers.0.{part}" for part in ("attention", "cross", "ffn")}
    assert {row.name for row in rows} == wanted
    assert seen[-1][1:] == (len(wanted), len(wanted))
    assert [row.gain_per_byte for row in rows] == sorted((row.gain_per_byte for row in rows), reverse=True)


def test_a_plan_with_nothing_to_raise_is_told(checkpoint: Checkpoint, loss: Callable[[nn.Module], float]) -> None:
    with pytest.raises(UsageError, match="found none"):
        sensitivity(checkpoint, EXACT, loss)
    with pytest.raises(UsageError, match="budget"):
        mixed_plan(EXACT, [], -1, "decoder.embedding")


# -- the tied embedding, and the export --------------------------------------------------------------


@pytest.mark.parametrize(("bits", "group", "parts"), [(32, None, 1), (8, None, 2), (4, None, 2), (4, 32, 2)])
def test_rows_read_from_the_stored_form_are_the_weights(bits: int, group: int | None, parts: int) -> None:
    torch.manual_seed(0)
    logits = quantize_linears(nn.Sequential(nn.Linear(64, 10, bias=False).requires_grad_(False)), bits, group)[0]
    wanted = logits.weight.dequantize() if bits < 32 else logits.weight
    table = stored_form(logits)
    assert len(table) == parts
    tokens = torch.tensor([3, 0, 9])
    torch.testing.assert_close(lookup(tokens, table), wanted[tokens], rtol=1e-6, atol=0)


def test_a_table_that_is_not_in_the_program_is_told() -> None:
    with pytest.raises(TieError, match=r"Wanted the bytes of table \(2, 4\)"):
        locate(b"program", [torch.ones(2, 4)])


@pytest.fixture(scope="module")
def program(checkpoint: Checkpoint) -> SpeechProgram:
    return export_speech(checkpoint, MIXED)


@pytest.mark.slow  # 40 s of export; test_export.py exports by default
def test_a_mixed_plan_exports_as_simulated(checkpoint: Checkpoint, program: SpeechProgram, tmp_path: Path) -> None:
    for method in program.parity.values():
        assert method["pte_vs_quantized_rms"] < 0.005
    path = tmp_path / "model.pte"
    path.write_bytes(program.data)
    session = open_program(path, program.methods, program.constants)
    pcm = np.random.default_rng(0).normal(0, 0.1, (1, 1920 * 7)).astype(np.float32)
    tokens = [257, 259, 65, 66]
    wanted = whole_logits(simulate(checkpoint, MIXED), pcm, tokens)
    cache = np.zeros((2, 16, 224), np.float32), np.zeros((2, 224, 16), np.float32)
    logits = session.run("decode", np.array(tokens), np.array([0]), *cache, *session.run("encode", pcm))[0]
    assert np.sqrt(np.mean((logits - wanted) ** 2)) < 0.02 * np.sqrt(np.mean(wanted**2))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_static_activations_are_calibrated_and_delegate_whole(checkpoint: Checkpoint) -> None:
    """The exporter refuses undelegated heavy operations; 4-bit layers and logits stay dynamic beside static ones."""
    plan = QuantizationPlan(8, layers=(("decoder.layers.0.ffn.*", Width(4)),), activations="static")
    with pytest.raises(UsageError, match="found none"):
        export_speech(checkpoint, plan)
    if checkpoint.family == "moonshine":  # its decoder's ranges are measured without alignment heads too
        checkpoint = replace(checkpoint, alignment_heads=())
    rng = np.random.default_rng(0)
    clips = [(rng.normal(0, 0.05, 16_000).astype(np.float32), [257, 259, *rng.integers(0, 256, 40)]) for _ in range(3)]
    spelling = add_ctc(checkpoint)
    torch.manual_seed(0)
    spelling.weights["ctc.out.weight"].normal_()  # untrained it emits nothing
    parity = export_speech(spelling, plan, clips=clips).parity
    assert parity.keys() == {"encode", "decode", "stream"}
    for method in parity.values():
        assert method["pte_vs_quantized_rms"] < 0.02
        assert 0 < method["quantized_vs_fp32_rms"] < 0.2, "quantized at all, in chunks too"
