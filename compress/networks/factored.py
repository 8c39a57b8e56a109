"""Linear layers as products of two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from device_asr.errors import DeviceAsrError


class Factored(nn.Module):
    """A linear layer as the product of two: `down` to `rank` features, `up` from them with the bias."""

    def __init__(self, columns: int, rows: int, rank: int, bias: bool = True) -> None:
        super().__init__()
        self.down = nn.Linear(columns, rank, bias=False)
        self.up = nn.Linear(rank, rows, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x))


def weight_and_bias(weights: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor | None]:
    """The weight (rows, columns) and the bias of a linear layer in a network's state; of a factored one the product.

    Raises:
        DeviceAsrError: there is no linear layer of that name.
    """
    if f"{name}.weight" in weights:
        return weights[f"{name}.weight"], weights.get(f"{name}.bias")
    if f"{name}.up.weight" in weights:
        return weights[f"{name}.up.weight"] @ weights[f"{name}.down.weight"], weights.get(f"{name}.up.bias")
    raise DeviceAsrError(f"Layer {name}: wanted a linear layer of the network, found none.")


def factor(network: nn.Module, ranks: Iterable[tuple[str, int]]) -> None:
    """Replaces the named linear layers by `Factored` ones of these ranks, untrained, in place.

    Raises:
        DeviceAsrError: the network has no linear layer of that name.
    """
    linears = {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear)}
    for name, rank in ranks:
        if name not in linears:
            raise DeviceAsrError(
                f"Factored layer {name}: wanted a linear layer of the network, found none; "
                "the ranks do not fit the other dims."
            )
        linear, (parent, _, own) = linears[name], name.rpartition(".")
        setattr(
            network.get_submodule(parent),
            own,
            Factored(linear.in_features, linear.out_features, rank, linear.bias is not None),
        )
