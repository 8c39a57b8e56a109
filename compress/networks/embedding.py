"""The tied embedding: the logits' weights as they lie in the program file, read as token rows by `decode`.

XNNPACK stores 8-bit weights as int8 rows and float32 scales. It stores 4-bit ones as two numbers a
byte, the even column in the low half, each plus 8, and bfloat16 scales, one a group. Both are found
byte for byte in the .pte, so that the runtime maps them as inputs of the program and nothing is stored
twice. A table of 24000 x 384 with lookup and logits of one token, one thread: 8 bits 9.3 MB and 0.10 ms;
4 bits in groups of 32 5.2 MB and 0.10 ms, but ten times the error of the logits (random weights).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

NAMES = ("table", "scales")
MANTISSA = 128  # bfloat16: 7 bits of it
BIAS = 127  # of its exponent


def stored_form(logits: nn.Linear) -> list[Tensor]:
    """The logits' weights as XNNPACK stores them.

    Returns:
        float32 (vocab, state); or int8 (vocab, state) with float32 (vocab,); or uint8 (vocab, state / 2)
        with int16 (vocab, groups), the bits of bfloat16.
    """
    weight: Any = logits.weight  # a tensor of torchao where the layer is quantized
    if not hasattr(weight, "qdata"):
        return [weight.detach().contiguous()]
    if weight.target_dtype == torch.int8:
        return [weight.qdata.contiguous(), weight.scale.reshape(-1).to(torch.float32).contiguous()]
    numbers = (weight.qdata + 8).to(torch.uint8)
    packed = numbers[:, 0::2] | (numbers[:, 1::2] << 4)
    return [packed.contiguous(), weight.scale.to(torch.bfloat16).contiguous().view(torch.int16)]


def lookup(tokens: Tensor, table: Sequence[Tensor]) -> Tensor:
    """Rows (n, state) float32 of `tokens` (n,) in a table of `stored_form`, with operations of the portable kernels."""
    rows = torch.index_select(table[0], 0, tokens).to(torch.float32)
    if len(table) == 1:
        return rows
    scales = torch.index_select(table[1], 0, tokens).to(torch.float32)
    if table[0].dtype == torch.int8:
        return rows * scales.unsqueeze(1)
    high = torch.floor(rows * (1 / 16))
    numbers = torch.stack([rows - 16 * high, high], dim=2) - 8  # (n, state / 2, 2)
    exponent = torch.floor(scales * (1 / MANTISSA))  # a scale is positive: no sign bit
    mantissa = (scales - MANTISSA * exponent) * (1 / MANTISSA) + 1
    values = torch.pow(2.0, exponent - BIAS) * mantissa
    groups = table[1].shape[1]
    return (numbers.reshape(-1, groups, 2 * table[0].shape[1] // groups) * values.unsqueeze(2)).flatten(1)
