"""Which layers suffer from few bits, measured one at a time, and a plan that spends bytes on those."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compress.networks.checkpoint import Checkpoint
from compress.networks.network import SpeechNetwork
from compress.quantize.plan import FLOAT, QuantizationPlan, Width, weight_shape
from compress.quantize.qat import simulate
from device_asr.errors import UsageError


@dataclass(frozen=True)
class SensitivityRow:
    """One group of layers with more bits, all others as planned.

    layers: their names; the token embedding stands for the logits too. width: the width that they were given.
    extra_bytes: its cost in the program. planned, score: the evaluation of the plan and of the plan with this
    change; lower is better.
    """

    name: str
    layers: tuple[str, ...]
    width: Width
    extra_bytes: int
    planned: float
    score: float

    @property
    def gain(self) -> float:
        """How much the evaluation falls."""
        return self.planned - self.score

    @property
    def gain_per_byte(self) -> float:
        """What decides the order of spending."""
        return self.gain / self.extra_bytes


def layer(name: str) -> str:
    """Groups for `sensitivity`: every layer by itself."""
    return name


def block(name: str) -> str:
    """Groups for `sensitivity`: layers of one module together, such as the projections of an attention."""
    return name.rsplit(".", 1)[0] if name.count(".") > 1 else name


def sensitivity(
    checkpoint: Checkpoint,
    plan: QuantizationPlan,
    evaluate: Callable[[SpeechNetwork], float],
    *,
    width: Width | None = None,
    group: Callable[[str], str] = layer,
    progress: Callable[[SensitivityRow, int, int], None] | None = None,
) -> list[SensitivityRow]:
    """Evaluates the plan once with each group of layers given `width`, and says what that gains.

    Networks are simulated (see `qat.simulate`), so a row costs one evaluation and no export.

    Args:
        evaluate: score of a quantized network in evaluation mode, lower is better (distillation loss, WER).
        width: None: fp32. Layers that have as many bits already are left out; so is the embedding where
            this is fp32: its table is the largest matrix, and four times as large is no plan for a device.
        group: name of a layer -> name of its group.
        progress: called with each row, how many are done, and of how many.

    Returns:
        Rows, the largest gain per byte first.

    Raises:
        UsageError: nothing is left to give more bits to, or the plan does not fit the network.
    """
    width = width or Width(FLOAT)
    network = checkpoint.network()
    widths = plan.widths(network)
    embedding = checkpoint.family_of().embedding
    if width.bits != FLOAT:
        widths[embedding] = plan.table
    shapes = {name: weight_shape(network, name) for name in widths}
    groups: dict[str, list[str]] = {}
    for name, planned in widths.items():
        if planned.bits < width.bits and width.fits(shapes[name][1]):
            groups.setdefault(group(name), []).append(name)
    if not groups:
        raise UsageError(f"Sensitivity: wanted layers of fewer than {width.bits} bits, found none in the plan.")
    before = evaluate(simulate(checkpoint, plan))
    rows = []
    for number, (title, names) in enumerate(groups.items(), 1):
        score = evaluate(simulate(checkpoint, plan.with_layers(dict.fromkeys(names, width), embedding)))
        extra = sum(width.bytes(*shapes[name]) - widths[name].bytes(*shapes[name]) for name in names)
        rows.append(SensitivityRow(title, tuple(names), width, extra, before, score))
        if progress is not None:
            progress(rows[-1], number, len(groups))
    return sorted(rows, key=lambda row: -row.gain_per_byte)


def mixed_plan(
    plan: QuantizationPlan, rows: Sequence[SensitivityRow], bytes_budget: int, embedding: str
) -> QuantizationPlan:
    """Gives more bits to the groups that gain most by the byte, as long as `bytes_budget` more bytes suffice.

    Greedy: a group that no longer fits is passed over, smaller ones after it may still fit; one that
    gains nothing is never taken. Gains are taken to add up, which is not measured here.

    Args:
        embedding: the name of the token embedding among the layers.

    Raises:
        UsageError: a negative budget.
    """
    if bytes_budget < 0:
        raise UsageError(f"Mixed plan: wanted a budget of 0 bytes or more, found {bytes_budget}.")
    chosen: dict[str, Width] = {}
    for row in sorted(rows, key=lambda row: -row.gain_per_byte):
        if row.gain > 0 and row.extra_bytes <= bytes_budget and not chosen.keys() & set(row.layers):
            chosen |= dict.fromkeys(row.layers, row.width)
            bytes_budget -= row.extra_bytes
    return plan.with_layers(chosen, embedding)
