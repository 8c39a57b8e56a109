"""Weights of 4 bits as floats that are rounded to the same numbers again."""

from __future__ import annotations

import torch
from torch import Tensor

LOWEST, HIGHEST = -8, 7  # codes
LARGEST = 7.5  # a group's scale is its largest value / 7.5
ASIDE = 2.0**-20  # relative: off the middle between two codes


def on_grid(codes: Tensor, scales: Tensor) -> Tensor:
    """(rows, columns) float32 that torchao's rounding to nearest makes the same codes and scales of.

    Each code times its scale, but for the group's largest: that one was 7.5 scales and is again, else the group
    would get a smaller scale. Which of several 7s it was is not known: the first. torchao divides by a scale as
    it multiplies with its reciprocal in bfloat16, so that -7.5 scales become -8 or -7.

    Args:
        codes: (rows, groups, group) from -8 to 7; in each group is one of 7, -7, -8, or nothing but 0.
        scales: (rows, groups) bfloat16, of groups that have a -8 such as `bears_lowest` finds good.
    """
    rounded = scales.unsqueeze(2)
    scale, middle = rounded.to(torch.float32), _middle(rounded)
    lowest, upper = codes == LOWEST, codes == HIGHEST
    largest = torch.where(upper.any(2, keepdim=True), _first(upper), _first(codes == -HIGHEST))
    largest &= ~lowest.any(2, keepdim=True)
    values = codes * scale
    values = torch.where(lowest, -_beyond(rounded), values)
    values = torch.where(largest & upper, LARGEST * scale, values)
    values = torch.where(largest & ~upper, -torch.minimum(LARGEST * scale, middle * (1 - ASIDE)), values)
    return values.reshape(codes.shape[0], -1)


def bears_lowest(scales: Tensor) -> Tensor:
    """Whether a group of each of these scales, bfloat16, can hold a -8: some weight of that size gives the scale."""
    return (_beyond(scales) / LARGEST).to(torch.bfloat16) == scales


def _middle(scales: Tensor) -> Tensor:
    """Where rounding goes from -7 to -8, without the sign."""
    return LARGEST / (1.0 / scales).to(torch.float32)


def _beyond(scales: Tensor) -> Tensor:
    """What stands for a -8, without the sign."""
    return torch.maximum(LARGEST * scales.to(torch.float32), _middle(scales) * (1 + ASIDE))


def _first(marks: Tensor) -> Tensor:
    """The first mark of each group (rows, groups, columns) alone."""
    return marks & (marks.cumsum(2) == 1)
