"""Pruning on tiny networks: what goes is what mattered least, and what is built does what the masked one did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from compress.data.corpus import CorpusError, pad
from compress.data.targets import distillation_loss, targets
from compress.networks.checkpoint import Checkpoint, add_adapters, add_ctc
from compress.networks.chunking import Chunking
from compress.networks.dims import Dims, LayerDims
from compress.networks.family import family_of
from compress.networks.label import Label
from compress.networks.moonshine.dims import MoonshineDims
from compress.networks.patterns import choose as choose_names
from compress.networks.whisper.dims import WhisperDims
from compress.prune.importance import Batch
from compress.prune.magnitude import MagnitudeSettings, apply_masks, magnitude, masks
from compress.prune.reduction import choose, evenly
from compress.prune.structured import (
    FfnSettings,
    HeadSettings,
    LayerSettings,
    NarrowSettings,
    narrow,
    prune_ffn,
    prune_heads,
    prune_layers,
)
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.errors import UsageError

PIECES = (b" the", b" cat", b" sat", b" on", b" a", b" mat", b".", b"!")
VOCABULARY = Vocabulary(PIECES, (9, 11), 8, 10)
HEAD = 4
DIMS = WhisperDims(
    n_mels=8,
    state=16,
    head_dim=HEAD,
    audio_ctx=100,
    text_ctx=20,
    vocab=12,
    encoder=(LayerDims(4, 32),) * 3,
    decoder=(LayerDims(4, 32, 4),) * 3,
)
MOONSHINE = MoonshineDims(
    conv1=8,
    conv2=12,
    rotary=2,
    state=16,
    head_dim=HEAD,
    audio_ctx=100,
    text_ctx=20,
    vocab=12,
    encoder=DIMS.encoder,
    decoder=DIMS.decoder,
)
OF_FAMILY: dict[str, Dims] = {"whisper": DIMS, "moonshine": MOONSHINE}
ALIGNMENT = ((1, 0), (1, 3), (2, 2))
SAMPLES = 3840  # a multiple of both families' positions
POSITIONS = {"whisper": 12, "moonshine": 8}  # of so many samples: Moonshine's read 895


def random_checkpoint(dims: Dims = DIMS, seed: int = 0) -> Checkpoint:
    torch.manual_seed(seed)
    state = family_of(dims).network(dims).state_dict()
    weights = {name: value + 0.1 * torch.randn_like(value) for name, value in state.items()}
    return Checkpoint(dims, weights, VOCABULARY, ALIGNMENT, ("random",))


@pytest.fixture(params=OF_FAMILY)
def whole(request: pytest.FixtureRequest) -> Checkpoint:
    return random_checkpoint(OF_FAMILY[request.param])


@torch.no_grad()
def logits(checkpoint: Checkpoint) -> Tensor:
    pcm = torch.from_numpy(np.random.default_rng(1).normal(0, 0.1, (2, SAMPLES)).astype(np.float32))
    return checkpoint.network()(pcm, torch.tensor([[9, 11, 1, 2], [9, 11, 3, 0]]), torch.tensor([SAMPLES, 2500]))


def batches() -> list[Batch]:
    made = []
    for seed, ids in enumerate(([0, 1, 2], [4, 5])):
        best = np.array([[token, (token + 1) % 12] for token in [*ids, 8]], np.int32)
        label = Label(np.array(ids, np.int32), best, np.log(np.full(best.shape, 0.5)).astype(np.float16), True)
        pcm, lengths = pad([np.random.default_rng(seed).normal(0, 0.1, SAMPLES).astype(np.float32)], 320)
        made.append((torch.from_numpy(pcm), torch.from_numpy(lengths), targets([label], VOCABULARY)))
    return made


def edited(checkpoint: Checkpoint, change: Callable[[dict[str, Tensor]], None]) -> Checkpoint:
    weights = {name: value.clone() for name, value in checkpoint.weights.items()}
    change(weights)
    return replace(checkpoint, weights=weights)


def same(one: Checkpoint, other: Checkpoint) -> bool:
    return (
        one.dims == other.dims
        and one.weights.keys() == other.weights.keys()
        and all(torch.equal(value, other.weights[name]) for name, value in one.weights.items())
    )


# -- single weights -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_the_smallest_weights_become_zeros(whole: Checkpoint, scope: str) -> None:
    pruned, report = magnitude(whole, MagnitudeSettings(amount=0.5, scope=scope))
    assert report.sparsity == pytest.approx(0.5, abs=1e-3)
    spread = {round(layer.sparsity, 3) for layer in report.layers}
    assert (spread == {0.5}) is (scope == "layer")
    for layer in report.layers:
        before, after = whole.weights[f"{layer.name}.weight"], pruned.weights[f"{layer.name}.weight"]
        gone = after == 0
        assert int(gone.sum()) == layer.zeros and layer.weights == after.numel()
        assert torch.equal(after[~gone], before[~gone])
        assert before[gone].abs().max() <= before[~gone].abs().min()
    largest = max(
        whole.weights[f"{x.name}.weight"][pruned.weights[f"{x.name}.weight"] == 0].abs().max() for x in report.layers
    )
    smallest = min(
        value[value != 0].abs().min() for value in (pruned.weights[f"{x.name}.weight"] for x in report.layers)
    )
    assert bool(largest <= smallest) is (scope == "global"), "one ranking over all layers, or one in each"
    assert "50.0% of them are zero" in pruned.provenance[-1]


def test_a_threshold_leaves_only_larger_weights(whole: Checkpoint) -> None:
    pruned, report = magnitude(whole, MagnitudeSettings(threshold=0.1, layers=("encoder.layers.*.ffn.up",)))
    assert [layer.name for layer in report.layers] == [f"encoder.layers.{i}.ffn.up" for i in range(3)]
    for layer in report.layers:
        before, after = whole.weights[f"{layer.name}.weight"], pruned.weights[f"{layer.name}.weight"]
        assert torch.equal(after, torch.where(before.abs() > 0.1, before, 0.0)) and 0 < layer.sparsity < 1
    untouched = "decoder.layers.0.ffn.up.weight"
    assert torch.equal(pruned.weights[untouched], whole.weights[untouched])


def test_zeros_make_the_packed_file_smaller_and_the_dense_one_not(whole: Checkpoint) -> None:
    _, report = magnitude(whole, MagnitudeSettings(amount=0.8, layers=("*",)))
    matrices = [value for name, value in whole.weights.items() if value.dim() == 2 and name != "encoder.positions"]
    vectors = sum(value.numel() for value in whole.weights.values() if value.dim() == 1)
    assert report.dense_bytes == sum(m.numel() + 4 * len(m) for m in matrices) + 4 * vectors
    assert report.packed_after < 0.7 * report.packed_before and report.packed_before > 0.95 * report.dense_bytes
    assert report.parameters == whole.parameters and report.zeros >= sum(layer.zeros for layer in report.layers)


def test_a_name_stands_for_everything_under_it(whole: Checkpoint) -> None:
    network = whole.network()
    names = [
        name for name, module in network.named_modules() if isinstance(module, torch.nn.Linear | torch.nn.Embedding)
    ]
    assert set(choose_names(names, ["decoder.layers.1.cross"], "layers")) == {
        f"decoder.layers.1.cross.{part}" for part in ("query", "key", "value", "out")
    }
    assert "decoder.embedding" not in choose_names(names, MagnitudeSettings(amount=0.1).layers, "layers")
    assert "decoder.embedding" in choose_names(names, ["decoder"], "layers")


def test_fine_tuning_keeps_the_mask(whole: Checkpoint) -> None:
    pruned, report = magnitude(whole, MagnitudeSettings(amount=0.7))
    kept = masks(pruned)
    assert set(kept) == {f"{layer.name}.weight" for layer in report.layers}
    network = pruned.network().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    first = last = None
    for _ in range(8):
        for pcm, lengths, wanted in batches():
            optimizer.zero_grad()
            loss = distillation_loss(network(pcm, wanted.tokens, lengths), wanted, 0.7, 0.3)
            loss.backward()
            last = float(loss.detach())
            first = last if first is None else first
            optimizer.step()
            apply_masks(network, kept)
    tuned = network.state_dict()
    assert last < 0.7 * first
    for name, mask in kept.items():
        assert torch.equal(tuned[name] != 0, mask), name
        assert not torch.equal(tuned[name], pruned.weights[name])


# -- heads ----------------------------------------------------------------------------------------------------


def silence_heads(weights: dict[str, Tensor], module: str, heads: list[int]) -> None:
    for head in heads:
        weights[f"{module}.out.weight"][:, head * HEAD : (head + 1) * HEAD] = 0


@pytest.mark.parametrize(
    ("part", "module"),
    [
        ("encoder", "encoder.layers.1.attention"),
        ("decoder", "decoder.layers.1.attention"),
        ("cross", "decoder.layers.1.cross"),
    ],
)
@pytest.mark.parametrize("importance", ["magnitude", "taylor"])
def test_a_network_without_heads_does_what_it_did_with_silent_ones(
    whole: Checkpoint, part: str, module: str, importance: str
) -> None:
    def tiny(weights: dict[str, Tensor]) -> None:
        for i in range(3):
            at = module.replace(".1.", f".{i}.")
            for name in ("query", "key", "value"):
                weights[f"{at}.{name}.weight"][HEAD : 3 * HEAD] *= 1e-3
            silence_heads(weights, at, [1, 2])

    silent = edited(whole, tiny)
    pruned, report = prune_heads(silent, HeadSettings(heads=2, parts=(part,), importance=importance), batches())
    assert torch.allclose(logits(pruned), logits(silent), atol=1e-5)
    assert not torch.allclose(logits(pruned), logits(whole), atol=1e-3)
    assert pruned.weights[f"{module}.query.weight"].shape == (8, 16) and pruned.dims.state == 16
    assert [x.part for x in report.removed] == [module.replace(".1.", f".{i}.") for i in range(3)]
    assert {(x.before, x.after) for x in report.removed} == {(4, 2)}
    # two heads of 4 go in 3 layers: rows of q, k, v, columns of out, biases of q and v where there are some
    rows = 4 * 16 + 2 * (f"{module}.query.bias" in whole.weights)
    assert report.parameters_before - report.parameters_after == 3 * 8 * rows
    assert report.parameters_after == pruned.parameters
    assert pruned.provenance[:-1] == whole.provenance and module in pruned.provenance[-1]


def test_one_ranking_takes_heads_where_they_matter_least(whole: Checkpoint) -> None:
    def fade(weights: dict[str, Tensor]) -> None:
        for name in ("query", "key", "value", "out"):
            weights[f"encoder.layers.2.attention.{name}.weight"] *= 0.1

    pruned, _ = prune_heads(edited(whole, fade), HeadSettings(amount=0.25, parts=("encoder",), scope="global"))
    assert [layer.heads for layer in pruned.dims.encoder] == [4, 4, 1]


def test_alignment_heads_keep_their_weights_and_one_of_them_always_stays(whole: Checkpoint) -> None:
    pruned, _ = prune_heads(whole, HeadSettings(heads=2, parts=("cross",)))
    assert pruned.alignment_heads
    for layer, head in pruned.alignment_heads:
        rows = pruned.weights[f"decoder.layers.{layer}.cross.query.weight"][head * HEAD : (head + 1) * HEAD]
        old = whole.weights[f"decoder.layers.{layer}.cross.query.weight"].view(4, HEAD, 16)
        before = next(i for i in range(4) if torch.equal(old[i], rows))
        assert (layer, before) in ALIGNMENT

    def fade(weights: dict[str, Tensor]) -> None:
        for layer, head in ALIGNMENT:
            for name in ("query", "key", "value"):
                weights[f"decoder.layers.{layer}.cross.{name}.weight"][head * HEAD : (head + 1) * HEAD] *= 1e-3
            silence_heads(weights, f"decoder.layers.{layer}.cross", [head])

    pruned, _ = prune_heads(edited(whole, fade), HeadSettings(heads=1, parts=("cross",)))
    assert len(pruned.alignment_heads) == 1 and pruned.alignment_heads[0][1] == 0
    assert all(layer.cross_heads == 1 for layer in pruned.dims.decoder)


# -- feed-forward channels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("importance", ["magnitude", "taylor"])
@pytest.mark.parametrize(("amount", "ffn", "left"), [(0.5, None, 16), (None, 16, 16), (0.4, None, 24)])
def test_a_network_without_channels_does_what_it_did_with_silent_ones(
    whole: Checkpoint, importance: str, amount: float | None, ffn: int | None, left: int
) -> None:
    gone = torch.tensor([3, 5, 8, 9, 11, 20, 22, 31, 1, 2, 17, 18, 25, 26, 27, 28][: 32 - left])

    def silence(weights: dict[str, Tensor]) -> None:
        for i in range(3):
            for side in ("encoder", "decoder"):
                for half in weights[f"{side}.layers.{i}.ffn.up.weight"].split(32):  # values and SwiGLU's gates
                    half[gone] *= 1e-3
                weights[f"{side}.layers.{i}.ffn.down.weight"][:, gone] = 0

    silent = edited(whole, silence)
    pruned, report = prune_ffn(silent, FfnSettings(amount=amount, ffn=ffn, importance=importance), batches())
    assert {layer.ffn for layer in (*pruned.dims.encoder, *pruned.dims.decoder)} == {left}
    assert torch.allclose(logits(pruned), logits(silent), atol=1e-5)
    halves = len(whole.weights["decoder.layers.0.ffn.up.weight"]) // 32
    assert report.parameters_before - report.parameters_after == 3 * (32 - left) * (33 + 17 * halves + 16)


# -- layers ---------------------------------------------------------------------------------------------------------


def silence_layer(weights: dict[str, Tensor], at: str) -> None:
    for name in ("attention.out", "cross.out", "ffn.down"):
        if f"{at}.{name}.weight" in weights:
            weights[f"{at}.{name}.weight"].zero_()
        if f"{at}.{name}.bias" in weights:
            weights[f"{at}.{name}.bias"].zero_()


@pytest.mark.parametrize("importance", ["magnitude", "taylor", "spaced"])
@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_a_network_without_a_layer_does_what_it_did_with_a_silent_one(
    whole: Checkpoint, side: str, importance: str
) -> None:
    silent = edited(whole, lambda weights: silence_layer(weights, f"{side}.layers.1"))
    pruned, report = prune_layers(silent, LayerSettings(layers=2, parts=(side,), importance=importance), batches())
    assert torch.allclose(logits(pruned), logits(silent), atol=1e-5)
    assert [(x.part, x.before, x.after) for x in report.removed] == [(f"{side}.layers", 3, 2)]
    assert pruned.alignment_heads == (((1, 2),) if side == "decoder" else ALIGNMENT)


def test_word_times_have_heads_to_follow_whatever_layers_go(whole: Checkpoint) -> None:
    first = replace(whole, alignment_heads=((1, 3),))
    pruned, _ = prune_layers(first, LayerSettings(layers=2))
    assert pruned.alignment_heads == ((1, 0), (1, 1), (1, 2), (1, 3)), "all of the last half of the layers"


def test_layers_are_spaced_with_the_first_and_the_last() -> None:
    assert [evenly(4, n) for n in (1, 2, 3, 4)] == [[3], [0, 3], [0, 2, 3], [0, 1, 2, 3]]
    assert evenly(32, 2) == [0, 31]


# -- width -------------------------------------------------------------------------------------------------------------


def hidden(small: Checkpoint) -> Checkpoint:
    """A network twice as wide that does the same: every residual channel has a copy that nobody reads."""

    def wide(name: str, value: Tensor) -> Tensor:
        if name.startswith("encoder.conv3"):  # writes channels
            return torch.cat([value, value])
        if name.startswith(("encoder.conv", "encoder.groupnorm")) and small.family == "moonshine":
            return value
        if name == "encoder.conv2.weight":  # reads and writes channels
            blocks = value.view(len(value), 3, -1)
            value = torch.cat([blocks, torch.zeros_like(blocks)], 2).flatten(1)
            return torch.cat([value, value])
        if name in ("encoder.norm.weight", "encoder.norm.bias", "decoder.norm.weight", "decoder.norm.bias"):
            return torch.cat([value, torch.zeros_like(value)])
        if name in ("encoder.conv1.weight", "encoder.conv1.bias", "encoder.conv2.bias") or name.endswith(
            ("out.weight", "out.bias", "down.weight", "down.bias", "norm.weight", "norm.bias")
        ):
            return torch.cat([value, value])
        if name.endswith(("positions", "embedding.weight")):
            return torch.cat([value, value], 1)
        if name.endswith(("query.weight", "key.weight", "value.weight", "up.weight")):
            return torch.cat([value, torch.zeros_like(value)], 1)
        return value

    weights = {name: wide(name, value) for name, value in small.weights.items()}
    return replace(small, dims=replace(small.dims, state=2 * small.dims.state), weights=weights)


@pytest.mark.parametrize("importance", ["magnitude", "taylor"])
def test_a_network_hidden_in_one_twice_as_wide_is_found(whole: Checkpoint, importance: str) -> None:
    # weights of one size: else the copy of a large channel outweighs a small one that is read
    even = replace(whole, weights={name: 0.25 * value.sign() for name, value in whole.weights.items()})
    wide = hidden(even)
    assert torch.allclose(logits(wide), logits(even), atol=1e-4)
    found, report = narrow(wide, NarrowSettings(state=16, importance=importance), batches())
    assert same(found, even)
    assert [(x.part, x.before, x.after) for x in report.removed] == [("state", 32, 16)]
    assert report.parameters_after == whole.parameters


def test_a_ctc_head_goes_along_with_the_encoder(whole: Checkpoint) -> None:
    small, _ = narrow(add_ctc(whole), NarrowSettings(state=8))
    assert small.weights["ctc.hidden.weight"].shape[1] == 8
    assert small.network().encode(torch.zeros(1, SAMPLES))[0].shape == (1, POSITIONS[whole.family], 8)
    assert "ctc.out.weight" not in masks(small), "untrained, not pruned"


@pytest.mark.parametrize(
    "cut",
    [
        lambda network: prune_heads(network, HeadSettings(heads=1)),
        lambda network: prune_ffn(network, FfnSettings(ffn=8)),
        lambda network: prune_layers(network, LayerSettings(layers=1)),
        lambda network: narrow(network, NarrowSettings(state=8, heads=2)),
    ],
    ids=["heads", "ffn", "layers", "narrow"],
)
def test_adapters_go_along_with_the_layers_they_change(whole: Checkpoint, cut: Callable[..., Any]) -> None:
    """What is left of a change is what it did to what is left: cut before or after, the same weights."""
    adapted = add_adapters(whole, 3)
    for name, weight in adapted.weights.items():
        if name.startswith("adapters."):
            weight.normal_(0, 1e-3)  # which units go is for the weights to say
    small, plain = cut(adapted)[0], cut(whole)[0]
    states, _ = small.network().encode(torch.zeros(1, SAMPLES), chunking=Chunking(2, 4, 1))
    assert states.shape[1] == POSITIONS[whole.family]
    if small.dims.state == whole.dims.state:  # how much a feature of the states matters, its changes have a say in
        assert all(torch.equal(weight, small.weights[name]) for name, weight in plain.weights.items())


def test_every_size_can_be_cut_at_once(whole: Checkpoint) -> None:
    settings = NarrowSettings(state=8, heads=2, ffn=16, encoder_layers=2, decoder_layers=1)
    small, report = narrow(whole, settings)
    assert small.dims == replace(
        OF_FAMILY[whole.family], state=8, encoder=(LayerDims(2, 16),) * 2, decoder=(LayerDims(2, 16, 2),)
    )
    assert logits(small).shape == (2, 4, 12) and bool(torch.isfinite(logits(small)).all())
    assert small.parameters == report.parameters_after < 0.5 * whole.parameters
    assert all(layer == 0 and head < 2 for layer, head in small.alignment_heads) and small.alignment_heads
    assert [x.part for x in report.removed][:2] == ["encoder.layers", "decoder.layers"]


@pytest.mark.slow
def test_a_network_of_uneven_layers_becomes_a_program() -> None:
    pytest.importorskip("torchao")
    from compress.export.export import export_speech
    from compress.quantize.plan import FLOAT, QuantizationPlan

    tokens = tuple(bytes([b]) for b in range(256))
    special = (257, 259), 256, 258
    whole = replace(
        random_checkpoint(replace(DIMS, audio_ctx=1500, text_ctx=448, vocab=260)),
        vocabulary=Vocabulary(tokens, *special),
    )
    small, _ = narrow(whole, NarrowSettings(state=8, encoder_layers=1, decoder_layers=2))
    small, _ = prune_heads(small, HeadSettings(amount=0.5, scope="global"))
    small, _ = prune_ffn(small, FfnSettings(amount=0.4, scope="global"))
    program = export_speech(small, QuantizationPlan(FLOAT, embedding=FLOAT))
    assert len({layer.heads for layer in small.dims.decoder} | {x.cross_heads for x in small.dims.decoder}) > 1
    for parity in program.parity.values():
        assert parity["pte_vs_fp32_rms"] < 1e-4


# -- exactness ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "run",
    [
        lambda c: magnitude(c, MagnitudeSettings(amount=0)),
        lambda c: magnitude(c, MagnitudeSettings(amount=0, scope="layer")),
        lambda c: prune_heads(c, HeadSettings(amount=0)),
        lambda c: prune_heads(c, HeadSettings(heads=4, scope="global")),
        lambda c: prune_ffn(c, FfnSettings(amount=0, importance="taylor"), batches()),
        lambda c: prune_ffn(c, FfnSettings(ffn=32)),
        lambda c: prune_layers(c, LayerSettings(amount=0, parts=("encoder", "decoder"))),
        lambda c: narrow(c, NarrowSettings()),
        lambda c: narrow(c, NarrowSettings(state=16, heads=4, ffn=32, encoder_layers=3, decoder_layers=3)),
    ],
)
def test_nothing_removed_changes_nothing(whole: Checkpoint, run: Callable) -> None:
    result, report = run(whole)
    assert same(result, whole)
    assert result.alignment_heads == whole.alignment_heads and result.provenance == whole.provenance
    assert getattr(report, "removed", ()) == () and getattr(report, "sparsity", 0) == 0


def test_channels_that_are_no_multiple_of_8_stay_at_amount_0() -> None:
    odd = random_checkpoint(replace(DIMS, encoder=(LayerDims(4, 30),) * 3))
    assert same(prune_ffn(odd, FfnSettings(amount=0))[0], odd)
    assert prune_ffn(odd, FfnSettings(amount=0.1))[0].dims.encoder[0].ffn == 30, "27 rounded up is all there is"


def test_pruning_leaves_the_given_checkpoint_alone(whole: Checkpoint) -> None:
    before = {name: value.clone() for name, value in whole.weights.items()}
    magnitude(whole, MagnitudeSettings(amount=0.5))
    narrow(whole, NarrowSettings(state=8, heads=1))
    assert all(torch.equal(value, whole.weights[name]) for name, value in before.items())


def test_shares_are_rounded_down_whatever_their_binary_fraction() -> None:
    kept = choose({"a": torch.arange(10.0), "b": torch.arange(100.0)}, 0.29, None, "layer", 1)
    assert len(kept["a"]) == 8 and len(kept["b"]) == 71 and kept["a"] == list(range(2, 10))


# -- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: MagnitudeSettings(), "either amount or threshold"),
        (lambda: MagnitudeSettings(amount=0.5, threshold=0.1), "either amount or threshold"),
        (lambda: MagnitudeSettings(amount=1.0), r"share in \[0, 1\), found 1.0"),
        (lambda: MagnitudeSettings(amount=-0.1), r"share in \[0, 1\)"),
        (lambda: MagnitudeSettings(amount=float("nan")), r"share in \[0, 1\)"),
        (lambda: MagnitudeSettings(threshold=-1), "at least 0, found -1"),
        (lambda: MagnitudeSettings(amount=0.5, scope="row"), "global or layer, found 'row'"),
        (lambda: MagnitudeSettings(amount=0.5, layers=()), "at least one name"),
        (lambda: HeadSettings(), "either amount or heads"),
        (lambda: HeadSettings(amount=1), r"share in \[0, 1\), found 1"),
        (lambda: HeadSettings(heads=0), "at least 1, found 0"),
        (lambda: HeadSettings(heads=2, parts=("crss",)), "encoder, decoder or cross, found 'crss'"),
        (lambda: HeadSettings(heads=2, parts=()), "found none"),
        (lambda: HeadSettings(heads=2, importance="size"), "magnitude or taylor, found 'size'"),
        (lambda: HeadSettings(heads=2, scope="all"), "layer or global"),
        (lambda: FfnSettings(ffn=100), "multiple of 8, found 100"),
        (lambda: FfnSettings(amount=1.5), r"share in \[0, 1\)"),
        (lambda: LayerSettings(amount=0.5, layers=1), "either amount or layers"),
        (lambda: LayerSettings(layers=1.5), "whole number of at least 1, found 1.5"),
        (lambda: NarrowSettings(state=100), "multiple of 8, found 100"),
        (lambda: NarrowSettings(decoder_layers=0), "at least 1, found 0"),
        (lambda: NarrowSettings(importance="spaced"), "magnitude or taylor"),
    ],
)
def test_impossible_settings_are_refused(make: Callable, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        make()


def test_a_layer_name_that_matches_nothing_is_told_with_the_nearest(whole: Checkpoint) -> None:
    with pytest.raises(UsageError, match=r"'encoder\.layers\.1\.ffn\.upp' .* is 'encoder\.layers\.1\.ffn\.up'"):
        magnitude(whole, MagnitudeSettings(amount=0.5, layers=("encoder.layers.1.ffn.upp",)))


@pytest.mark.parametrize(
    ("run", "match"),
    [
        (lambda c: prune_heads(c, HeadSettings(heads=5)), r"layers\.0\.attention: wanted at most the 4 .* found 5"),
        (lambda c: prune_ffn(c, FfnSettings(ffn=64)), r"encoder\.layers\.0\.ffn: wanted at most the 32 .* found 64"),
        (lambda c: prune_layers(c, LayerSettings(layers=4)), r"decoder\.layers: wanted at most the 3 .* found 4"),
        (lambda c: narrow(c, NarrowSettings(state=24)), r"state: wanted at most the 16 .* found 24"),
    ],
)
def test_more_than_there_is_cannot_stay(whole: Checkpoint, run: Callable, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        run(whole)


def test_taylor_needs_finite_clips(whole: Checkpoint) -> None:
    with pytest.raises(CorpusError, match="wanted batches of real clips, found none"):
        prune_heads(whole, HeadSettings(heads=2, importance="taylor"))
    ((pcm, lengths, wanted), _) = batches()
    with pytest.raises(CorpusError, match="loss of batch 1 is nan"):
        prune_heads(whole, HeadSettings(heads=2, importance="taylor"), [(pcm * torch.nan, lengths, wanted)])


def test_masks_of_another_network_are_refused(whole: Checkpoint) -> None:
    pruned, _ = magnitude(whole, MagnitudeSettings(amount=0.5))
    other = prune_ffn(whole, FfnSettings(ffn=16))[0].network()
    with pytest.raises(UsageError, match=r"ffn\.up\.weight: wanted a parameter of shape \(32, 16\), found \(16, 16\)"):
        apply_masks(other, masks(pruned))
