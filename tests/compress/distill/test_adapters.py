"""Adapters made of changes: merged ones, and those of a training of all weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from compress.distill.adapters import AdapterSettings, MergeSettings, adapters_of_change, merge_adapters
from compress.networks.checkpoint import Checkpoint, add_adapters
from compress.networks.dims import Dims, LayerDims
from compress.networks.factored import weight_and_bias
from compress.networks.family import family_of
from compress.networks.moonshine.dims import MoonshineDims
from compress.networks.whisper.dims import WhisperDims
from device_asr.errors import UsageError
from tests.support import speaking_teacher
from tests.support.speaking_teacher import BYTES

DIMS = WhisperDims(
    n_mels=8,
    state=16,
    head_dim=8,
    audio_ctx=1500,
    text_ctx=208,
    vocab=260,
    encoder=(LayerDims(2, 32), LayerDims(1, 24)),
    decoder=(LayerDims(2, 32, 2),),
)
MOONSHINE = MoonshineDims(
    conv1=8,
    conv2=12,
    rotary=4,
    state=16,
    head_dim=8,
    audio_ctx=1250,
    text_ctx=194,
    vocab=260,
    encoder=DIMS.encoder,
    decoder=DIMS.decoder,
)
OF_FAMILY: dict[str, Dims] = {"whisper": DIMS, "moonshine": MOONSHINE}
FULL = 8  # the second layer's one head


@pytest.fixture(params=OF_FAMILY)
def dims(request: pytest.FixtureRequest) -> Dims:
    return OF_FAMILY[request.param]


def untrained(seed: int, dims: Dims) -> Checkpoint:
    return speaking_teacher.untrained(dims, BYTES, seed)


def adapted(seed: int, dims: Dims, rank: int = 4) -> Checkpoint:
    """A network with adapters that change something."""
    made = add_adapters(untrained(1, dims), rank)
    torch.manual_seed(seed)
    weights = {
        name: torch.randn_like(weight) if name.startswith("adapters.") else weight
        for name, weight in made.weights.items()
    }
    return replace(made, weights=weights)


def test_every_adapter_has_the_layer_that_it_changes(dims: Dims) -> None:
    made = adapted(1, dims)
    targets = family_of(dims).adapter_targets(dims)
    adapters = {name.rpartition(".")[0].rpartition(".")[0] for name in made.weights if name.startswith("adapters.")}
    assert set(targets) == adapters
    for name, layer in targets.items():
        change, weight = weight_and_bias(made.weights, name), weight_and_bias(made.weights, layer)
        assert change[0].shape == weight[0].shape and (change[1] is None) == (weight[1] is None), name


def test_one_adapter_at_full_rank_keeps_its_change(dims: Dims) -> None:
    one = adapted(2, dims, rank=FULL)
    silent = add_adapters(untrained(1, dims), 2)
    made, report = merge_adapters([one, silent], (1.0, 1.0), FULL)
    assert report.energy == pytest.approx(1) and made.dims == replace(dims, adapters=FULL)
    for name in family_of(dims).adapter_targets(dims):
        for found, wanted in zip(*(weight_and_bias(x.weights, name) for x in (made, one)), strict=True):
            assert (found is None) == (wanted is None)
            if found is not None and wanted is not None:
                assert torch.allclose(found, wanted, atol=1e-4), name
    made.network()


def test_the_sum_is_weighted_and_its_energy_told(dims: Dims) -> None:
    first, second = adapted(2, dims), adapted(3, dims, rank=3)
    made, report = merge_adapters([first, second], (1.0, 0.5), 7)
    assert report.energy == pytest.approx(1), "4 and 3 are within 7"
    for name in family_of(dims).adapter_targets(dims):
        wanted = weight_and_bias(first.weights, name)[0] + 0.5 * weight_and_bias(second.weights, name)[0]
        assert torch.allclose(weight_and_bias(made.weights, name)[0], wanted, atol=1e-4), name
    cut, report = merge_adapters([first, second], (1.0, 0.5), 2)
    assert 0.3 < report.energy < 0.95 and {one.name for one in report.layers} == set(
        family_of(dims).adapter_targets(dims)
    )
    assert min(one.energy for one in report.layers) <= report.energy <= max(one.energy for one in report.layers)
    assert f"rank 2 ({report.energy:.0%} of the energy)" in cut.provenance[-1]
    assert {name for name in cut.weights} == {name for name in first.weights}
    untouched = [name for name in cut.weights if not name.startswith("adapters.")]
    assert all(torch.equal(cut.weights[name], first.weights[name]) for name in untouched)


def test_adapters_of_a_training_make_the_encoder_as_it_became(dims: Dims) -> None:
    before, after = untrained(1, dims), untrained(2, dims)
    made, report = adapters_of_change(before, after, 0.5, FULL)
    assert 0.5 < report.energy < 1, "other layers are wider than the narrowest"
    for name, layer in family_of(dims).adapter_targets(dims).items():
        (old, bias), (new, new_bias) = (weight_and_bias(x.weights, layer) for x in (before, after))
        change, shift = weight_and_bias(made.weights, name)
        if min(old.shape) <= FULL:
            assert torch.allclose(change, 0.5 * (new - old), atol=1e-5), name
        if bias is not None and new_bias is not None and shift is not None:
            assert torch.allclose(shift, 0.5 * (new_bias - bias), atol=1e-6), name
    same, report = adapters_of_change(before, before, 1.0, 2)
    assert report.energy == 1
    assert not any(weight.any() for name, weight in same.weights.items() if name.startswith("adapters."))


def test_checkpoints_that_do_not_fit_are_refused(dims: Dims) -> None:
    with pytest.raises(UsageError, match=r"wanted checkpoints with adapters.* found none in number 2"):
        merge_adapters([adapted(1, dims), untrained(1, dims)], (1.0, 1.0), 2)
    narrow = add_adapters(untrained(1, replace(dims, encoder=(LayerDims(2, 24), LayerDims(1, 24)))), 2)
    with pytest.raises(UsageError, match=r"ffn\.up of \(32, 16\) in the first checkpoint and of \(24, 16\)"):
        merge_adapters([adapted(1, dims), narrow], (1.0, 1.0), 2)
    short = untrained(1, replace(dims, encoder=dims.encoder[:1]))
    with pytest.raises(UsageError, match=r"encoder\.layers\.1\S+ of \(8, 16\) in the first checkpoint and of None"):
        adapters_of_change(untrained(1, dims), short, 1.0, 2)
    with pytest.raises(UsageError, match=r"merge_adapters\.rank: wanted at most 8, .* found 9"):
        merge_adapters([adapted(1, dims), adapted(2, dims)], (1.0, 1.0), 9)


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        (AdapterSettings, {"rank": 0}, "at least 1"),
        (AdapterSettings, {"rank": 2, "share": 0.5}, "found 0.5 and no checkpoint"),
        (AdapterSettings, {"rank": 2, "changed": "a", "share": 0.0}, "found 0 and a"),
        (MergeSettings, {"rank": 2, "checkpoints": ()}, "found 0 checkpoints and 1 shares"),
        (MergeSettings, {"rank": 2, "checkpoints": ("a",), "shares": (1.0,)}, "found 1 checkpoints and 1 shares"),
        (MergeSettings, {"rank": 0, "checkpoints": ("a",)}, r"merge_adapters\.rank"),
    ],
)
def test_settings_that_cannot_be_are_refused(kind: type, values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        kind(**values)
