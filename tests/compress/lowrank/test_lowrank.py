"""Low rank: nothing changes at energy 1, a layer of low rank is found exactly, and the WER budget decides the rest."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from compress.checkpoints import own
from compress.checkpoints.load import load_checkpoint
from compress.export.export import export_speech
from compress.lowrank.decomposition import Batch, decompose_weight, linear_layers
from compress.lowrank.lowrank import LowRankSettings, Outcome, Step, cut, decompose, factorize, within_budget
from compress.networks.checkpoint import Checkpoint
from compress.networks.dims import Dims, LayerDims
from compress.networks.family import family_of
from compress.networks.moonshine.dims import MoonshineDims
from compress.networks.weights import CheckpointError
from compress.networks.whisper.dims import WhisperDims
from compress.quantize.apply import is_quantized, quantize_linears
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.errors import DeviceAsrError, UsageError
from tests.support.foreign_checkpoints import save_hugging_face, save_openai
from tests.support.moonshine import VOCABULARY as MOONSHINE_VOCABULARY

DIMS = WhisperDims(
    n_mels=8,
    state=32,
    head_dim=16,
    audio_ctx=1500,
    text_ctx=448,
    vocab=260,
    encoder=(LayerDims(2, 128), LayerDims(1, 64)),
    decoder=(LayerDims(2, 96, 2), LayerDims(2, 64, 1)),
)
MOONSHINE = MoonshineDims(
    conv1=24,
    conv2=32,
    rotary=8,
    state=32,
    head_dim=16,
    audio_ctx=1250,
    text_ctx=194,
    vocab=260,
    encoder=DIMS.encoder,
    decoder=DIMS.decoder,
)
OF_FAMILY: dict[str, Dims] = {"whisper": DIMS, "moonshine": MOONSHINE}
VOCABULARY = Vocabulary(tuple(bytes([b]) for b in range(256)), (257, 259), 256, 258)
UP, DOWN = "encoder.layers.0.ffn.up", "encoder.layers.0.ffn.down"
PLAIN = LowRankSettings(energy=0.7, activations=False)


def random_checkpoint(dims: Dims) -> Checkpoint:
    torch.manual_seed(0)
    return Checkpoint(dims, family_of(dims).network(dims).state_dict(), VOCABULARY, ((0, 1), (1, 0)), ("random",))


@pytest.fixture(scope="module", params=OF_FAMILY)
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    return random_checkpoint(OF_FAMILY[request.param])


@pytest.fixture(scope="module")
def low(checkpoint: Checkpoint) -> Checkpoint:
    """The same, but every feed-forward layer is of rank 8."""
    torch.manual_seed(1)
    weights = dict(checkpoint.weights)
    for name, weight in checkpoint.weights.items():
        if ".ffn." in name and name.endswith("weight"):
            weights[name] = torch.randn(weight.shape[0], 8) @ torch.randn(8, weight.shape[1]) * 0.05
    return replace(checkpoint, weights=weights)


@pytest.fixture(scope="module")
def calibration() -> list[Batch]:
    return [batch(2), batch(3)]


def batch(seed: int) -> Batch:
    """Three clips of noise, the second and third padded, with texts that end at different places."""
    random = torch.Generator().manual_seed(seed)
    pcm = torch.randn(3, 1920 * 17, generator=random) * 0.1  # whole positions of both families
    lengths = torch.tensor([1920 * 17, 20_000, 9_000])
    pcm[torch.arange(pcm.shape[1])[None] >= lengths[:, None]] = 0.0
    tokens = torch.randint(0, 256, (3, 20), generator=random)
    tokens[1, 12:] = tokens[2, 5:] = VOCABULARY.end
    return pcm, lengths, tokens


def logits(checkpoint: Checkpoint, seed: int = 4) -> Tensor:
    pcm, lengths, tokens = batch(seed)
    with torch.no_grad():
        return checkpoint.network()(pcm, tokens, lengths)


# -- what stays the same -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [LowRankSettings(energy=1.0), LowRankSettings(layers=(), energy=0.5), LowRankSettings(energy=1, activations=False)],
)
def test_energy_one_or_no_layers_change_nothing(checkpoint: Checkpoint, settings: LowRankSettings) -> None:
    same, report = factorize(checkpoint, settings)
    assert same is checkpoint
    assert report.parameters_before == report.parameters_after == checkpoint.parameters


@pytest.mark.parametrize("activations", [False, True])
def test_layers_of_low_rank_are_found_and_answer_the_same(
    low: Checkpoint, calibration: list[Batch], activations: bool
) -> None:
    settings = LowRankSettings(layers=("*.ffn.*",), energy=1 - 1e-9, activations=activations)
    factored, report = factorize(low, settings, calibration)
    # of Moonshine's decoder `up` makes the gates too, and is as low as the rest
    assert [(layer.rank, layer.whole) for layer in report.layers] == [(8, False)] * 8
    assert factored.parameters < low.parameters
    assert (logits(factored) - logits(low)).abs().max() < 1e-5


@pytest.mark.parametrize("activations", [False, True])
def test_full_rank_reproduces_every_layer(checkpoint: Checkpoint, calibration: list[Batch], activations: bool) -> None:
    """At full rank two factors are larger, so it is the decomposition itself that is asked."""
    from compress.lowrank.decomposition import input_moments

    linears = linear_layers(checkpoint.network())
    moments = input_moments(checkpoint.network(), linears, calibration, VOCABULARY.end) if activations else {}
    for name, linear in linears.items():
        down, up = decompose_weight(linear.weight, moments.get(name), 1e-3).factors(min(linear.weight.shape))
        assert (up @ down - linear.weight).abs().max() < 1e-5, name


def test_the_checkpoint_given_is_left_alone(checkpoint: Checkpoint, calibration: list[Batch]) -> None:
    before = checkpoint.key()
    factorize(checkpoint, LowRankSettings(energy=0.7), calibration)
    assert checkpoint.key() == before


# -- what is removed ---------------------------------------------------------------------------------


def test_the_report_counts_what_was_removed(checkpoint: Checkpoint) -> None:
    factored, report = factorize(checkpoint, PLAIN)
    gone = sum(layer.before - layer.after for layer in report.layers)
    assert gone > 0
    assert report.parameters_before - report.parameters_after == gone
    assert report.parameters_after == factored.parameters == sum(p.numel() for p in factored.network().parameters())
    assert all(layer.rank % 8 == 0 and layer.energy >= 0.7 for layer in report.layers)
    assert len(factored.provenance) == 2 and "low rank" in factored.provenance[-1]


def test_layers_that_two_factors_would_not_make_smaller_stay_whole(checkpoint: Checkpoint) -> None:
    factored, report = factorize(checkpoint, LowRankSettings(rank=16, activations=False))
    made = dict(factored.dims.ranks)
    for layer in report.layers:
        assert layer.whole == (16 * (layer.rows + layer.columns) >= layer.rows * layer.columns)
        assert (layer.name in made) != layer.whole
    assert UP in made and "encoder.layers.0.attention.query" in report.skipped  # 128 x 32 and 32 x 32
    assert torch.equal(
        factored.weights["encoder.layers.0.attention.query.weight"],
        checkpoint.weights["encoder.layers.0.attention.query.weight"],
    )


def test_less_energy_means_fewer_weights_and_another_answer(checkpoint: Checkpoint) -> None:
    cuts = [factorize(checkpoint, replace(PLAIN, energy=energy))[0] for energy in (0.75, 0.6, 0.4)]
    sizes = [c.parameters for c in (checkpoint, *cuts)]
    assert sizes == sorted(set(sizes), reverse=True)
    errors = [float((logits(c) - logits(checkpoint)).norm()) for c in cuts]
    assert 0 < errors[0] < errors[-1]


def test_only_what_a_pattern_matches_is_touched(checkpoint: Checkpoint) -> None:
    factored, report = factorize(checkpoint, replace(PLAIN, layers=("encoder.layers.*.ffn.up", UP), energy=0.5))
    assert [layer.name for layer in report.layers] == [UP, "encoder.layers.1.ffn.up"]
    assert set(checkpoint.weights) - set(factored.weights) == {
        f"encoder.layers.{i}.ffn.up.{kind}" for i in (0, 1) for kind in ("weight", "bias")
    }


def test_ranks_are_rounded_up_to_the_multiple(checkpoint: Checkpoint) -> None:
    _, report = factorize(checkpoint, replace(PLAIN, layers=("*.ffn.*",), energy=0.3, multiple=16))
    assert {layer.rank for layer in report.layers} == {16}


def test_a_second_pass_leaves_the_factors_alone(low: Checkpoint) -> None:
    once, _ = factorize(low, replace(PLAIN, layers=("encoder.*.ffn.*",), energy=0.99))
    assert len(once.dims.ranks) == 4
    twice, report = factorize(once, replace(PLAIN, energy=0.99))
    assert not any(layer.name.startswith(dict(once.dims.ranks).popitem()[0]) for layer in report.layers)
    assert set(once.dims.ranks) < set(twice.dims.ranks)
    assert torch.isfinite(logits(twice)).all()


# -- activations -------------------------------------------------------------------------------------


def layer_outputs(checkpoint: Checkpoint, names: list[str], seed: int) -> dict[str, Tensor]:
    """Output of each layer at positions that are not padding, for the inputs of the network itself."""
    network, (pcm, lengths, tokens) = checkpoint.network(), batch(seed)
    found = {}

    def watch(name: str) -> Callable[..., None]:
        step, more = checkpoint.family_of().audio_inputs(name) or (0, 0)

        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            found[name] = output[torch.arange(output.shape[1])[None] * step + more < lengths[:, None]]

        return hook

    for name in names:
        network.get_submodule(name).register_forward_hook(watch(name))
    with torch.no_grad():
        network(pcm, tokens, lengths)
    return found


@pytest.mark.parametrize("name", ["encoder.conv2", "encoder.layers.1.ffn.up", "decoder.layers.0.cross.key"])
def test_activations_beat_plain_on_correlated_inputs(
    checkpoint: Checkpoint, calibration: list[Batch], name: str
) -> None:
    """On clips that were not calibrated with, at equal rank; the layers before are made to correlate the inputs."""
    weights = dict(checkpoint.weights)
    random = torch.Generator().manual_seed(5)
    scale = torch.logspace(1, -2, 32)[torch.randperm(32, generator=random)]
    for norm in ("encoder.norm", "encoder.layers.1.ffn_norm"):  # loud and quiet features
        weights[f"{norm}.weight"] = scale
        if f"{norm}.bias" in weights:
            weights[f"{norm}.bias"] = 3 * scale
    if "encoder.groupnorm.weight" in weights:
        weights["encoder.groupnorm.weight"] = torch.logspace(1, -3, 24)
    loud = replace(checkpoint, weights=weights)
    wanted = layer_outputs(loud, [name], seed=6)[name]
    errors = {}
    for activations in (False, True):
        settings = LowRankSettings(layers=(name,), rank=8, activations=activations)
        factored, report = factorize(loud, settings, calibration)
        assert report.skipped == ()
        errors[activations] = float((layer_outputs(factored, [name], seed=6)[name] - wanted).norm() / wanted.norm())
    assert errors[True] < 0.7 * errors[False]


def test_the_bias_takes_up_the_mean(checkpoint: Checkpoint, calibration: list[Batch]) -> None:
    """Of a layer behind GELU, whose outputs have one."""
    factored, _ = factorize(checkpoint, LowRankSettings(layers=(DOWN,), rank=8), calibration)
    lost = torch.cat(
        [layer_outputs(factored, [DOWN], seed)[DOWN] - layer_outputs(checkpoint, [DOWN], seed)[DOWN] for seed in (2, 3)]
    )
    assert lost.abs().mean() > 1e-3
    assert lost.mean(0).abs().max() < 1e-2 * lost.abs().mean()


def test_padding_is_not_listened_to(checkpoint: Checkpoint, calibration: list[Batch]) -> None:
    settings = LowRankSettings(energy=0.7)
    longer = [
        (nn.functional.pad(pcm, (0, 1920 * 4)), lengths, nn.functional.pad(tokens, (0, 9), value=VOCABULARY.end))
        for pcm, lengths, tokens in calibration
    ]
    # the longest clip fills its batch, so its last window changes from the edge to silence: keep to the others
    first, second = ([(p[1:], n[1:], t[1:]) for p, n, t in clips] for clips in (calibration, longer))
    for one, other in zip(
        factorize(checkpoint, settings, first)[1].layers, factorize(checkpoint, settings, second)[1].layers, strict=True
    ):
        assert one.rank == other.rank and one.energy == pytest.approx(other.energy, abs=1e-4), one.name


# -- the budget --------------------------------------------------------------------------------------


def wer_by_size(whole: Checkpoint) -> Callable[[Checkpoint], float]:
    """10 % and what was removed on top: half of the weights gone are 15 %."""
    return lambda checkpoint: 0.1 + 0.1 * (1 - checkpoint.parameters / whole.parameters)


def search(checkpoint: Checkpoint, budget: float, steps: int = 8, energy: float = 0.95) -> tuple[Outcome, list[Step]]:
    told: list[Step] = []
    settings = replace(PLAIN, energy=energy)
    return within_budget(checkpoint, (), settings, wer_by_size(checkpoint), budget, steps, told.append), told


@pytest.mark.parametrize("energy", [0.99, 0.9, 0.6])
def test_the_search_ends_at_the_smallest_network_within_the_budget(checkpoint: Checkpoint, energy: float) -> None:
    parts = decompose(checkpoint, PLAIN)
    ends = sorted(cut(checkpoint, parts, replace(PLAIN, energy=e / 200))[0].parameters for e in range(100, 200))
    limit = ends[len(ends) // 3]
    budget = 0.1 + 0.1 * (1 - limit / checkpoint.parameters) + 1e-9
    outcome, told = search(checkpoint, budget, steps=12, energy=energy)
    assert outcome.held and outcome.steps == tuple(told)
    assert wer_by_size(checkpoint)(outcome.checkpoint) <= budget
    assert outcome.checkpoint.parameters == min(r.parameters for r in told if r.holds)
    assert outcome.checkpoint.parameters <= 1.01 * limit
    assert outcome.report.parameters_after == outcome.checkpoint.parameters
    assert {r.holds for r in told} == {True, False}


def test_each_cut_is_evaluated_once_and_the_rounds_are_bounded(checkpoint: Checkpoint) -> None:
    outcome, told = search(checkpoint, 0.12, steps=3)
    assert len(told) <= 4  # and the whole network
    assert len({r.parameters for r in told}) == len(told)
    assert told[0].parameters == checkpoint.parameters
    assert f"in {len(told) - 1} steps" in outcome.reason


def test_a_generous_budget_is_used_up(checkpoint: Checkpoint) -> None:
    outcome, told = search(checkpoint, 1.0)
    assert outcome.held and all(r.holds for r in told)
    smallest = factorize(checkpoint, replace(PLAIN, energy=0.51))[0]  # half of it lost, less the last 2 %
    assert outcome.checkpoint.parameters == pytest.approx(smallest.parameters, rel=0.01)


def test_a_budget_below_the_network_is_said_at_once(checkpoint: Checkpoint) -> None:
    outcome, told = search(checkpoint, 0.09)
    assert len(told) == 1 and not outcome.held and outcome.checkpoint is checkpoint
    assert "itself has a WER of 10.00%" in outcome.reason


@pytest.mark.parametrize("wer", [0.2, math.nan])
def test_a_budget_that_no_cut_holds_is_said(checkpoint: Checkpoint, wer: float) -> None:
    outcome = within_budget(checkpoint, (), PLAIN, lambda c: 0.1 if c is checkpoint else wer, 0.1)
    assert not outcome.held and outcome.checkpoint is checkpoint and outcome.report.layers == ()
    assert outcome.reason.startswith("None of") and "(the whole network: 10.00%)" in outcome.reason


def test_layers_that_never_get_smaller_are_said(checkpoint: Checkpoint) -> None:
    settings = replace(PLAIN, multiple=128)
    outcome = within_budget(checkpoint, (), settings, lambda _: 0.1, 0.1)
    assert not outcome.held and len(outcome.steps) == 1
    assert outcome.reason.startswith("No chosen layer gets smaller")


def test_the_search_can_be_activation_aware(checkpoint: Checkpoint, calibration: list[Batch]) -> None:
    settings = LowRankSettings(layers=("*.ffn.*",), energy=0.9)
    outcome = within_budget(checkpoint, iter(calibration), settings, wer_by_size(checkpoint), 0.11)
    assert outcome.held
    assert "activation-aware" in outcome.checkpoint.provenance[-1]


# -- what comes after --------------------------------------------------------------------------------


def test_a_factored_checkpoint_is_saved_and_loaded(checkpoint: Checkpoint, tmp_path: Path) -> None:
    factored, _ = factorize(checkpoint, PLAIN)
    if checkpoint.family == "moonshine":
        factored = replace(factored, vocabulary=MOONSHINE_VOCABULARY)
    own.save(factored, tmp_path)
    found = load_checkpoint(tmp_path)
    assert found.dims == factored.dims and found.dims.ranks
    assert set(found.weights) == set(factored.weights)
    assert torch.equal(logits(found), logits(factored))


def test_dims_without_ranks_are_as_they_were(checkpoint: Checkpoint) -> None:
    dims, read = checkpoint.dims, checkpoint.family_of().dims
    values = dims.to_json()
    assert "ranks" not in values and "ranks" not in dims.key()  # manifests, and the keys of cached labels
    assert read(json.loads(json.dumps(values))) == dims
    factored = factorize(checkpoint, PLAIN)[0].dims
    assert read(json.loads(json.dumps(factored.to_json()))) == factored


def test_the_programs_take_factored_layers(low: Checkpoint) -> None:
    factored, _ = factorize(low, LowRankSettings(layers=("*.ffn.*", "encoder.conv*"), energy=0.999, activations=False))
    whole, _ = factorize(low, LowRankSettings(layers=("encoder.conv*",), energy=0.999, activations=False))
    pcm, family = batch(4)[0][:1], low.family_of()
    with torch.no_grad():
        encoded = [family.encode_program(c.network())(pcm) for c in (whole, factored)]
        table = [low.weights["decoder.embedding.weight"]]
        caches = family.caches(low.dims, 24)
        decoded = [
            family.decode_program(c.network(), c.alignment_heads, 24)(
                torch.tensor([257, 259, 65]), torch.tensor([0]), table, *caches, list(e[:2]), list(e[2:])
            )
            for c, e in zip((whole, factored), encoded, strict=True)
        ]
    for one, other in zip([*encoded[0], *decoded[0]], [*encoded[1], *decoded[1]], strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_both_factors_are_quantized(low: Checkpoint) -> None:
    pytest.importorskip("torchao")
    factored, _ = factorize(low, LowRankSettings(layers=(UP,), rank=8, activations=False))
    program = factored.family_of().encode_program(factored.network().requires_grad_(False))
    quantize_linears(program, 8)
    layer = program.get_submodule(UP)
    assert is_quantized(layer.down) and is_quantized(layer.up)


@pytest.mark.slow
@pytest.mark.parametrize("family", OF_FAMILY)
def test_the_program_for_the_device_is_exported_with_parity(family: str) -> None:
    pytest.importorskip("torchao")
    dims = OF_FAMILY[family]
    small = replace(
        random_checkpoint(replace(dims, encoder=dims.encoder[:1], decoder=dims.decoder[:1])), alignment_heads=((0, 1),)
    )
    factored, report = factorize(small, LowRankSettings(layers=("*.ffn.*",), rank=8, activations=False))
    assert report.skipped == ()
    for parity in export_speech(factored).parity.values():
        assert parity["pte_vs_quantized_rms"] < 0.02
        assert parity["pte_vs_fp32_rms"] < 0.1


# -- bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, "wanted either energy or rank, found energy None and rank None"),
        ({"energy": 0.9, "rank": 8}, "wanted either energy or rank"),
        ({"energy": 0.0}, r"lowrank.energy: wanted a share in \(0, 1\], found 0.0"),
        ({"energy": 1.5}, r"wanted a share in \(0, 1\], found 1.5"),
        ({"energy": math.nan}, r"wanted a share in \(0, 1\], found nan"),
        ({"rank": 0}, "lowrank.rank: wanted a multiple of 8, found 0"),
        ({"rank": 12}, "lowrank.rank: wanted a multiple of 8, found 12"),
        ({"energy": 0.9, "multiple": 0}, "lowrank.multiple: wanted 1 or more, found 0"),
        ({"energy": 0.9, "ridge": 0.0}, "lowrank.ridge: wanted a number above 0, found 0.0"),
    ],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, float], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        LowRankSettings(**values)


def test_a_rank_larger_than_the_layer_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(UsageError, match=r"wanted at most 24, the rank of encoder\.conv1, found 32"):
        factorize(checkpoint, LowRankSettings(rank=32, activations=False))


def test_a_layer_that_is_not_there_is_told_with_the_nearest(checkpoint: Checkpoint) -> None:
    with pytest.raises(
        UsageError,
        match=r"'encoder\.layer\.0\.ffn\.up' matches no linear layer; "
        r"the nearest is 'encoder\.layers\.0\.ffn\.up'",
    ):
        factorize(checkpoint, replace(PLAIN, layers=("encoder.layer.0.ffn.up",)))


@pytest.mark.parametrize("clips", [[], [(torch.zeros(1, 640), torch.tensor([0]), torch.tensor([[257]]))]])
def test_activations_without_clips_are_refused(checkpoint: Checkpoint, clips: list[Batch]) -> None:
    with pytest.raises(UsageError, match=r"wanted calibration clips .* found none"):
        factorize(checkpoint, LowRankSettings(energy=0.9), clips)


@pytest.mark.parametrize(
    ("settings", "budget", "steps", "told"),
    [
        (PLAIN, -0.1, 8, r"WER budget: wanted a share of 0 or more, such as 0\.15, found -0\.1"),
        (PLAIN, math.nan, 8, "WER budget: .* found nan"),
        (PLAIN, 0.1, 0, "wanted 1 step or more, found 0"),
        (LowRankSettings(rank=8), 0.1, 8, "wanted an energy below 1 to begin with, found a rank"),
        (LowRankSettings(energy=1.0), 0.1, 8, r"wanted an energy below 1 to begin with, found 1\.0"),
    ],
)
def test_an_impossible_search_is_refused(
    checkpoint: Checkpoint, settings: LowRankSettings, budget: float, steps: int, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        within_budget(checkpoint, (), settings, lambda _: 0.0, budget, steps)


def test_ranks_that_do_not_fit_the_network_are_told(checkpoint: Checkpoint) -> None:
    with pytest.raises(DeviceAsrError, match=r"encoder\.layers\.9\.ffn\.up: wanted a linear layer"):
        replace(checkpoint, dims=replace(checkpoint.dims, ranks=(("encoder.layers.9.ffn.up", 8),))).network()


def test_other_formats_refuse_factored_layers_before_they_write(tmp_path: Path) -> None:
    factored, _ = factorize(random_checkpoint(DIMS), replace(PLAIN, layers=(UP,), energy=0.5))
    with pytest.raises(CheckpointError, match=r"ffn\.up is factored: wanted whole layers"):
        save_openai(factored, tmp_path / "tiny.pt")
    with pytest.raises(CheckpointError, match=r"ffn\.up is factored: wanted whole layers"):
        save_hugging_face(factored, tmp_path / "folder", tmp_path / "tokenizer.json")
    assert list(tmp_path.iterdir()) == []
