"""Structured pruning: whole heads, feed-forward channels, layers and widths go, a smaller dense network is built.

Unlike zeros among weights this buys everything at once: bytes, memory and time on any device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from compress.networks.checkpoint import Checkpoint
from compress.networks.family import Part, Side
from compress.prune.importance import Batch, elements
from compress.prune.reduction import MULTIPLE, Reduction, Removed
from compress.settings import check_count
from device_asr.errors import UsageError

ATTENTIONS: dict[str, tuple[Side, Part]] = {
    "encoder": ("encoder", "attention"),
    "decoder": ("decoder", "attention"),
    "cross": ("decoder", "cross"),
}
HEAD_PARTS = tuple(ATTENTIONS)
SIDES: tuple[Side, ...] = ("encoder", "decoder")
METHODS = ("magnitude", "taylor")
Importance = Literal["magnitude", "taylor"]


@dataclass(frozen=True)
class HeadSettings:
    """Which attention heads go: either `amount` or `heads`.

    amount: share in [0, 1) of the heads to remove, rounded down; a layer keeps one at least.
    heads: heads that stay in each layer. parts: of "encoder", "decoder" (self-attention) and "cross".
    scope: the same number from every layer, or one ranking over all layers of a part.
    """

    amount: float | None = None
    heads: int | None = None
    parts: tuple[str, ...] = HEAD_PARTS
    importance: Importance = "magnitude"
    scope: Literal["layer", "global"] = "layer"

    def __post_init__(self) -> None:
        _check(self, "heads", HEAD_PARTS, METHODS)


@dataclass(frozen=True)
class FfnSettings:
    """Which feed-forward channels go: either `amount` or `ffn`.

    amount: share in [0, 1) of the channels to remove; what stays is rounded up to a multiple of 8.
    ffn: channels that stay in each layer, a multiple of 8. parts: of "encoder" and "decoder". scope: see
    `HeadSettings`.
    """

    amount: float | None = None
    ffn: int | None = None
    parts: tuple[Side, ...] = SIDES
    importance: Importance = "magnitude"
    scope: Literal["layer", "global"] = "layer"

    def __post_init__(self) -> None:
        _check(self, "ffn", SIDES, METHODS)
        _check_multiple("ffn", self.ffn)


@dataclass(frozen=True)
class LayerSettings:
    """Which layers go: either `amount` or `layers`.

    amount: share in [0, 1) of the layers to remove, rounded down. layers: how many stay in each part.
    parts: of "encoder" and "decoder". importance: "spaced" keeps the first, the last and evenly spaced
    ones between them, as Distill-Whisper does (Gandhi et al. 2023, arXiv:2311.00430).
    """

    amount: float | None = None
    layers: int | None = None
    parts: tuple[Side, ...] = ("decoder",)
    importance: Literal["magnitude", "taylor", "spaced"] = "spaced"

    def __post_init__(self) -> None:
        _check(self, "layers", SIDES, (*METHODS, "spaced"))


@dataclass(frozen=True)
class NarrowSettings:
    """A narrower or shallower architecture; None: as it is.

    state: width of the residual streams, a multiple of 8. heads, ffn: in each layer, heads in
    cross-attention too. encoder_layers, decoder_layers: how many stay, evenly spaced ones.
    """

    state: int | None = None
    heads: int | None = None
    ffn: int | None = None
    encoder_layers: int | None = None
    decoder_layers: int | None = None
    importance: Importance = "magnitude"

    def __post_init__(self) -> None:
        for name in ("state", "heads", "ffn", "encoder_layers", "decoder_layers"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        for name in ("state", "ffn"):
            _check_multiple(name, getattr(self, name))
        _check_choice("importance", self.importance, METHODS)


@dataclass(frozen=True)
class StructureReport:
    """What was removed: parts that became smaller, weights before and after."""

    removed: tuple[Removed, ...]
    parameters_before: int
    parameters_after: int


def prune_heads(
    checkpoint: Checkpoint, settings: HeadSettings, batches: Iterable[Batch] = ()
) -> tuple[Checkpoint, StructureReport]:
    """The network with only its most important attention heads; one head that follows the words stays.

    Args:
        batches: real clips with labels, looked at where importance is "taylor".

    Raises:
        UsageError: more heads wanted than a layer has. CorpusError: no batch.
    """

    def steps(work: Reduction) -> None:
        for part in settings.parts:
            work.heads(*ATTENTIONS[part], settings.amount, settings.heads, settings.scope)

    return _reduce(checkpoint, "heads", steps, settings.importance, batches)


def prune_ffn(
    checkpoint: Checkpoint, settings: FfnSettings, batches: Iterable[Batch] = ()
) -> tuple[Checkpoint, StructureReport]:
    """The network with only its most important feed-forward channels.

    Args, Raises: see `prune_heads`.
    """

    def steps(work: Reduction) -> None:
        for side in settings.parts:
            work.ffn(side, settings.amount, settings.ffn, settings.scope)

    return _reduce(checkpoint, "feed-forward channels", steps, settings.importance, batches)


def prune_layers(
    checkpoint: Checkpoint, settings: LayerSettings, batches: Iterable[Batch] = ()
) -> tuple[Checkpoint, StructureReport]:
    """The network with only some of its layers; where none that follows the words is left, see `Reduction.layers`.

    Args, Raises: see `prune_heads`.
    """

    def steps(work: Reduction) -> None:
        for side in settings.parts:
            work.layers(side, settings.amount, settings.layers, spaced=settings.importance == "spaced")

    return _reduce(checkpoint, "layers", steps, settings.importance, batches)


def narrow(
    checkpoint: Checkpoint, settings: NarrowSettings, batches: Iterable[Batch] = ()
) -> tuple[Checkpoint, StructureReport]:
    """A network of the wanted sizes with the weights of the most important parts.

    A residual channel counts by its share of every tensor that reads or writes it. The encoder's stream,
    the decoder's and the channels between the convolutions are chosen apart. LayerNorm then sees the
    statistics of the kept channels alone: a narrowed network wants training.

    Args, Raises: see `prune_heads`; UsageError too where state is wider than the network.
    """

    def steps(work: Reduction) -> None:
        for side, count in zip(SIDES, (settings.encoder_layers, settings.decoder_layers), strict=True):
            if count is not None:
                work.layers(side, None, count, spaced=True)
        for part in HEAD_PARTS if settings.heads is not None else ():
            work.heads(*ATTENTIONS[part], None, settings.heads, "layer")
        for side in SIDES if settings.ffn is not None else ():
            work.ffn(side, None, settings.ffn, "layer")
        if settings.state is not None:
            work.state(settings.state)

    return _reduce(checkpoint, "sizes", steps, settings.importance, batches)


def _reduce(
    checkpoint: Checkpoint, what: str, steps: Callable[[Reduction], None], importance: str, batches: Iterable[Batch]
) -> tuple[Checkpoint, StructureReport]:
    """Runs the steps on one measurement of importance, and tells what they did."""
    method = "magnitude" if importance == "spaced" else importance
    work = Reduction(checkpoint, elements(checkpoint, method, batches))
    steps(work)
    result = work.checkpoint
    report = StructureReport(tuple(work.removed), checkpoint.parameters, result.parameters)
    if not work.removed:
        return checkpoint, report
    note = f"{what} pruned by {importance}: " + ", ".join(f"{x.part} {x.before} to {x.after}" for x in work.removed)
    return replace(result, provenance=(*checkpoint.provenance, note)), report


def _check(
    settings: HeadSettings | FfnSettings | LayerSettings, count: str, parts: tuple[str, ...], methods: tuple[str, ...]
) -> None:
    """What the settings of heads, channels and layers have in common."""
    amount, absolute = settings.amount, getattr(settings, count)
    if (amount is None) == (absolute is None):
        raise UsageError(f"{count}: wanted either amount or {count}, found amount {amount} and {count} {absolute}.")
    if amount is not None and not 0 <= amount < 1:
        raise UsageError(f"{count}.amount: wanted a share in [0, 1), found {amount}.")
    if absolute is not None:
        check_count(count, absolute)
    object.__setattr__(
        settings, "parts", (settings.parts,) if isinstance(settings.parts, str) else tuple(settings.parts)
    )
    if not settings.parts:
        raise UsageError(f"{count}.parts: wanted some of {', '.join(parts)}, found none.")
    for part in settings.parts:
        _check_choice(f"{count}.parts", part, parts)
    _check_choice(f"{count}.importance", settings.importance, methods)
    _check_choice(f"{count}.scope", getattr(settings, "scope", "layer"), ("layer", "global"))


def _check_multiple(name: str, count: int | None) -> None:
    if count is not None and count % MULTIPLE:
        raise UsageError(f"{name}: wanted a multiple of {MULTIPLE}, found {count}.")


def _check_choice(name: str, found: str, wanted: tuple[str, ...]) -> None:
    if found not in wanted:
        raise UsageError(f"{name}: wanted {', '.join(wanted[:-1])} or {wanted[-1]}, found {found!r}.")
