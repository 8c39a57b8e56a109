"""Compensated rounding: the exporter finds just these codes, the layers' outputs lose less, zeros stay."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from compress.lowrank.decomposition import Batch
from compress.networks.checkpoint import Checkpoint
from compress.networks.dims import Dims
from compress.networks.family import family_of
from compress.quantize.apply import quantize, quantize_linears
from compress.quantize.gptq import GptqSettings, apply_gptq, compensated, nearest
from compress.quantize.grid import on_grid
from compress.quantize.plan import QuantizationPlan, Width
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.errors import UsageError
from tests.support.dims import DIMS
from tests.support.moonshine import DIMS as MOONSHINE

VOCABULARY = Vocabulary(tuple(bytes([b]) for b in range(256)), (257, 259), 256, 258)
PLAN = QuantizationPlan(bits=4, group=32)


OF_FAMILY: dict[str, Dims] = {"whisper": DIMS, "moonshine": replace(MOONSHINE, conv1=32, conv2=32)}


@pytest.fixture(scope="module", params=OF_FAMILY)
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    torch.manual_seed(0)
    dims = OF_FAMILY[request.param]
    return Checkpoint(dims, family_of(dims).network(dims).state_dict(), VOCABULARY, ((0, 1),), ("random",))


def batches() -> list[Batch]:
    random = torch.Generator().manual_seed(2)
    pcm = torch.randn(4, 1920 * 17, generator=random) * 0.1
    return [(pcm, torch.tensor([32_000, 20_000, 9_000, 30_000]), torch.randint(0, 256, (4, 20), generator=random))]


def related(columns: int, count: int, seed: int = 0) -> Tensor:
    """(count, columns) float64 inputs of which many go together."""
    random = torch.Generator().manual_seed(seed)
    mixed = torch.randn(columns // 4, columns, generator=random, dtype=torch.float64)
    few = torch.randn(count, columns // 4, generator=random, dtype=torch.float64)
    return few @ mixed + 0.1 * torch.randn(count, columns, generator=random, dtype=torch.float64)


def exported(weight: Tensor, group: int) -> Tensor:
    """The weight as the exporter rounds it."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(weight.float())
    return quantize_linears(nn.Sequential(layer), 4, group)[0].weight.dequantize().detach().double()


@pytest.mark.parametrize("group", [32, 64])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 40.0])
def test_the_exporter_finds_the_same_codes_and_scales(group: int, scale: float) -> None:
    torch.manual_seed(1)
    weight = scale * torch.randn(50, 128, dtype=torch.float64)
    inputs = related(128, 500)
    codes, scales = compensated(weight, inputs.T @ inputs / 500, group, 0.01)
    wanted = (codes * scales.double().unsqueeze(2)).flatten(1)
    assert torch.equal(exported(on_grid(codes, scales), group), wanted)


def test_outputs_lose_less_than_by_rounding_to_nearest() -> None:
    torch.manual_seed(1)
    weight, inputs = torch.randn(50, 128, dtype=torch.float64), related(128, 2000)
    codes, scales = compensated(weight, inputs[:1000].T @ inputs[:1000] / 1000, 32, 0.01)
    rounded = (codes * scales.double().unsqueeze(2)).flatten(1)
    held_out = inputs[1000:]

    def lost(other: Tensor) -> float:
        return float((held_out @ (weight - other).T).square().mean())

    assert lost(rounded) < 0.3 * lost(nearest(weight, 32))


def test_nearest_is_what_the_exporter_does_without() -> None:
    torch.manual_seed(1)
    weight = torch.randn(50, 128)
    apart = (exported(weight, 32) - nearest(weight.double(), 32)).abs() > 1e-6
    assert apart.double().mean() < 0.01  # at the middle between two codes torchao goes the other way


def test_inputs_that_never_vary_leave_rounding_to_nearest_scales_apart() -> None:
    torch.manual_seed(1)
    weight = torch.randn(8, 64, dtype=torch.float64)
    codes, scales = compensated(weight, torch.zeros(64, 64, dtype=torch.float64), 32, 0.01)
    rounded = (codes * scales.double().unsqueeze(2)).flatten(1)
    assert (rounded - weight).square().mean() <= (nearest(weight, 32) - weight).square().mean()


def test_a_network_keeps_what_is_not_of_4_bits_and_loses_less(checkpoint: Checkpoint) -> None:
    plan = replace(PLAN, layers=(("encoder.layers.0.ffn.*", Width(8)),))
    rounded, report = apply_gptq(checkpoint, GptqSettings(plan), batches())
    assert {row.name for row in report.layers} == {
        name for name, width in plan.widths(checkpoint.network()).items() if width.bits == 4
    }
    assert all(row.error < row.nearest for row in report.layers)
    for name, weight in checkpoint.weights.items():
        same = torch.equal(rounded.weights[name], weight)
        assert same == (name.rsplit(".", 1)[0] not in {row.name for row in report.layers}), name
    assert rounded.dims == checkpoint.dims and "GPTQ" in rounded.provenance[-1]

    pcm, lengths, tokens = batches()[0]
    with torch.no_grad():
        exact = checkpoint.network()(pcm, tokens, lengths)
        apart = [
            float((quantize(one.network(), plan)(pcm, tokens, lengths) - exact).square().mean())
            for one in (checkpoint, rounded)
        ]
    assert apart[1] < 0.7 * apart[0]


def test_without_layers_of_4_bits_nothing_changes(checkpoint: Checkpoint) -> None:
    same, report = apply_gptq(checkpoint, GptqSettings(QuantizationPlan()), [])
    assert same is checkpoint and report.layers == ()


def test_zeros_stay_where_single_weights_were_pruned(checkpoint: Checkpoint) -> None:
    name = "encoder.layers.0.ffn.up.weight"
    torch.manual_seed(3)
    holes = torch.rand(checkpoint.weights[name].shape) < 0.5
    pruned = replace(checkpoint, weights={**checkpoint.weights, name: checkpoint.weights[name].masked_fill(holes, 0.0)})
    kept, _ = apply_gptq(pruned, GptqSettings(PLAN), batches(), zeros_stay=True)
    assert (kept.weights[name][holes] == 0).all()
    filled, _ = apply_gptq(pruned, GptqSettings(PLAN), batches())
    assert (filled.weights[name][holes] != 0).any()


def test_bad_settings_are_one_sentence(checkpoint: Checkpoint) -> None:
    with pytest.raises(UsageError, match=r"wanted calibration clips with audio and text, found none"):
        apply_gptq(checkpoint, GptqSettings(PLAN), [])
    with pytest.raises(UsageError, match=r"gptq\.clips: wanted a whole number of at least 1, found 0"):
        GptqSettings(PLAN, clips=0)
    with pytest.raises(UsageError, match=r"gptq\.ridge: wanted a number above 0, found 0"):
        GptqSettings(PLAN, ridge=0)
    with pytest.raises(UsageError, match=r"Weight bits: wanted 4, 8 or 32, found 3"):
        GptqSettings({"bits": 3})  # type: ignore[arg-type]
