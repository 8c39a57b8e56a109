"""Which parameters are trained: weights, or low-rank changes that are added to them (LoRA, Hu et al. 2021).

The changes of Moonshine base at rank 16 are 2.6 M numbers, where the weights are 61.5 M: what a training has learned
is then a small file beside weights that others publish.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from compress.distill.settings import DistillSettings
from compress.networks.adapters import Adapted
from compress.networks.factored import Factored
from compress.networks.patterns import choose
from device_asr.errors import UsageError

DOWN, UP, BIAS = "change.down.weight", "change.up.weight", "linear.bias"


def trained_parameters(
    network: nn.Module, settings: DistillSettings, masks: Mapping[str, Tensor]
) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name; the others get no gradient. Adds the changes that are trained.

    Raises:
        UsageError: a pattern of `only` names none, with the nearest name; or changes would fill zeros that stay.
    """
    if settings.rank and masks:
        raise UsageError("distill.rank: wanted 0 after a stage that prunes single weights, whose zeros changes fill.")
    if settings.rank:
        chosen = learn_changes(network, settings.only, settings.rank, settings.seed)
    else:
        names = dict(network.named_parameters())
        chosen = choose(names, settings.only, "distill.only", "weight") if settings.only else list(names)
    parameters = dict(network.named_parameters())
    wanted = set(chosen)
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in wanted)
    return {name: parameters[name] for name in chosen}


def learn_changes(network: nn.Module, only: Sequence[str], rank: int, seed: int) -> list[str]:
    """Puts a silent change of this rank beside each linear layer whose weight `only` names, in place.

    Args:
        only: patterns of weights, see `DistillSettings.only`; none: all linear layers.

    Returns:
        The names of the network's parameters that are trained: the changes, and what `only` names besides matrices
        of linear layers.

    Raises:
        UsageError: a pattern names nothing, or there is no linear layer among what is named.
    """
    modules = dict(network.named_modules())
    linears = [f"{name}.weight" for name, module in modules.items() if isinstance(module, nn.Linear)]
    names = [name for name, _ in network.named_parameters()]
    chosen = choose(names, only, "distill.only", "weight") if only else linears
    trained: list[str] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name in chosen:
            layer, _, kind = name.rpartition(".")
            linear = modules.get(layer)
            if not isinstance(linear, nn.Linear):
                trained.append(name)
            elif kind == "bias":
                trained.append(f"{layer}.{BIAS}")
            else:
                network.set_submodule(layer, Adapted(linear, _silent(linear, rank)))
                trained += [f"{layer}.{DOWN}", f"{layer}.{UP}"]
    if not any(name.endswith(UP) for name in trained):
        raise UsageError("distill.rank: wanted linear layers among what distill.only names, found none.")
    found = dict(network.named_parameters())
    return [name if name in found else name.replace(f".{BIAS}", ".bias") for name in trained]


def _silent(linear: nn.Linear, rank: int) -> Factored:
    change = Factored(linear.in_features, linear.out_features, rank, bias=False)
    nn.init.kaiming_uniform_(change.down.weight, a=math.sqrt(5))
    nn.init.zeros_(change.up.weight)
    return change.to(linear.weight.device)


def added(weights: Mapping[str, Tensor], trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a network with what was trained: changes added, other tensors replaced.

    Args:
        trained: tensors named as `learn_changes` names them.
    """
    result = dict(weights)
    for name, tensor in trained.items():
        if name.endswith(f".{UP}"):
            layer = name.removesuffix(f".{UP}")
            result[f"{layer}.weight"] = result[f"{layer}.weight"] + tensor @ trained[f"{layer}.{DOWN}"]
        elif not name.endswith(f".{DOWN}"):
            result[name.replace(f".{BIAS}", ".bias")] = tensor
    return result
