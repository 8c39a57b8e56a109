"""The mean of networks' weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from compress.distill.average import AverageSettings, average
from compress.distill.settings import DistillSettings
from compress.networks.checkpoint import Checkpoint, add_ctc
from compress.networks.dims import LayerDims
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
    encoder=(LayerDims(2, 32),),
    decoder=(LayerDims(2, 32, 2),),
)


def untrained(seed: int) -> Checkpoint:
    return speaking_teacher.untrained(DIMS, BYTES, seed)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (1 / 3, 1 / 3, 1 / 3), (0.1, 0.2, 0.7)])
def test_the_average_of_equal_weights_is_the_same(shares: tuple[float, ...]) -> None:
    made = average([untrained(1)] * len(shares), shares)
    assert made.dims == DIMS and list(made.weights) == list(untrained(1).weights)
    for name, weight in untrained(1).weights.items():
        assert torch.equal(made.weights[name], weight), name


def test_each_network_counts_by_its_share() -> None:
    first, second = untrained(1), untrained(2)
    made = average([first, second], (0.25, 0.75))
    for name, weight in made.weights.items():
        assert weight.dtype == torch.float32
        assert torch.allclose(weight, 0.25 * first.weights[name] + 0.75 * second.weights[name], atol=1e-6), name
    made.network()


def test_networks_that_differ_are_refused() -> None:
    with pytest.raises(UsageError, match="found another dims in number 2"):
        average([untrained(1), add_ctc(untrained(1))], (0.5, 0.5))
    other = replace(untrained(1), vocabulary=replace(BYTES, suppress=(3,)))
    with pytest.raises(UsageError, match="found another vocabulary in number 3"):
        average([untrained(1), untrained(2), other], (0.5, 0.25, 0.25))


def test_shares_are_equal_where_none_are_given() -> None:
    assert AverageSettings("a").shares == (0.5, 0.5) and AverageSettings("a").checkpoints == ("a",)  # type: ignore[arg-type]
    settings = AverageSettings(trainings=({"epochs": 2}, {"rate": 1e-4}, {}))  # type: ignore[arg-type]
    assert settings.trainings == (DistillSettings(2), DistillSettings(rate=1e-4), DistillSettings())
    assert settings.shares == (1 / 3,) * 3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "wanted either checkpoints or at least two trainings, found 0 checkpoints and 0 trainings"),
        ({"trainings": [{}]}, "found 0 checkpoints and 1 trainings"),
        ({"checkpoints": ["a"], "trainings": [{}, {}]}, "found 1 checkpoints and 2 trainings"),
        ({"checkpoints": ["a"], "shares": [1.0]}, r"wanted 2 shares above 0 whose sum is 1, found \[1.0\]"),
        ({"checkpoints": ["a"], "shares": [0.5, 0.6]}, "whose sum is 1"),
        ({"checkpoints": ["a"], "shares": [0.0, 1.0]}, "above 0"),
        ({"trainings": [{}, {"epoch": 1}]}, r"average\.trainings, 2: .* found 'epoch'; did you mean 'epochs'"),
    ],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        AverageSettings(**values)
