"""Programs of a few kilobytes whose methods have what the product's methods have; see `tiny_methods`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compress.export.delegation import lower
from compress.quantize.apply import quantize_linears
from tests.support.tiny_methods import WIDTH

LONGEST = 64  # rows of affine's x


class Affine(nn.Module):
    """(rows, WIDTH) float32 -> the same shape, and the sum of each row; in the delegate, of any number of rows."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.linear(x)
        return torch.relu(y), y.sum(dim=1)


class Scaled(nn.Module):
    """x * scale + times, with a float32 scalar and an int64 scalar of no axes."""

    def forward(self, x: Tensor, scale: Tensor, times: Tensor) -> Tensor:
        return x * scale + times


class LookUp(nn.Module):
    """Rows of a table; an operator outside the delegate."""

    def forward(self, ids: Tensor, table: Tensor) -> Tensor:
        return table.index_select(0, ids)


class Slow(nn.Module):
    """Some ten milliseconds of matrix products on one thread."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(256, 256) for _ in range(4)))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


def export_tiny() -> bytes:
    """The program."""
    torch.manual_seed(0)
    rows = torch.export.Dim("rows", min=1, max=LONGEST)
    x = torch.zeros(3, WIDTH)
    with torch.no_grad():
        return lower(
            {
                "affine": torch.export.export(Affine().eval(), (x,), dynamic_shapes=({0: rows},)),
                "scaled": torch.export.export(Scaled(), (x, torch.tensor(2.0), torch.tensor(3))),
                "look_up": torch.export.export(LookUp(), (torch.tensor([1, 0]), torch.zeros(5, WIDTH))),
            }
        )


def export_slow() -> bytes:
    """The program of the method `slow`."""
    with torch.no_grad():
        return lower({"slow": torch.export.export(Slow().eval(), (torch.zeros(2048, 256),))})


class Equal(nn.Module):
    """Two layers whose quantized weights have the same integers and other scales."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False)
        self.two.weight.data = 2 * self.one.weight.data

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.one(x), self.two(x)


def export_equal() -> bytes:
    """The program of the method `equal`, with weights of 4 bits."""
    with torch.no_grad():
        return lower({"equal": torch.export.export(quantize_linears(Equal().eval(), 4, 32), (torch.zeros(4, 64),))})
