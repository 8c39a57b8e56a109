"""Low-rank changes are trained beside the weights and added to them."""

from __future__ import annotations

import pytest
import torch

from compress.distill.changes import added, learn_changes
from compress.networks.moonshine.network import Moonshine
from device_asr.errors import UsageError
from tests.support.moonshine import DIMS

LAYERS = ("*.layers.*.attention.*", "*.layers.*.cross.*", "*.layers.*.ffn.*")


def network() -> Moonshine:
    torch.manual_seed(0)
    return Moonshine(DIMS).eval()


def test_untrained_changes_change_nothing() -> None:
    plain, changed = network(), network()
    learn_changes(changed, LAYERS, 2, seed=0)
    pcm = torch.randn(1, 16_128)
    assert torch.equal(plain.encode(pcm)[0], changed.encode(pcm)[0])


@pytest.mark.parametrize("only", [LAYERS, (), ("encoder.conv2",), ("encoder.layers.0.ffn.up",)])
def test_weights_with_their_changes_compute_what_the_changed_network_does(only: tuple[str, ...]) -> None:
    plain, changed = network(), network()
    trained = learn_changes(changed, only, 2, seed=0)
    parameters = dict(changed.named_parameters())
    for name in trained:
        torch.nn.init.normal_(parameters[name], std=0.1)
    weights = added(plain.state_dict(), {name: parameters[name].detach() for name in trained})
    assert set(weights) == set(plain.state_dict())
    assert any(not torch.equal(weights[name], tensor) for name, tensor in plain.state_dict().items())
    plain.load_state_dict(weights)
    pcm, tokens = torch.randn(1, 16_128), torch.tensor([[257, 1, 2]])
    for ours, theirs in zip(
        *((one.encode(pcm)[0], one.decoder(tokens, one.encode(pcm)[0])[0]) for one in (plain, changed)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_without_patterns_all_linear_layers_and_nothing_else_are_changed() -> None:
    changed = network()
    trained = learn_changes(changed, (), 2, seed=0)
    linears = [module for module in network().modules() if isinstance(module, torch.nn.Linear)]
    assert len(trained) == 2 * len(linears)


def test_patterns_without_a_linear_layer_are_refused() -> None:
    with pytest.raises(UsageError, match="wanted linear layers"):
        learn_changes(network(), ("decoder.norm.weight",), 2, seed=0)
