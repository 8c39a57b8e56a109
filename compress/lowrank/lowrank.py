"""Low rank: linear layers as products of two smaller ones, cut as far as a WER budget allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from compress.lowrank.decomposition import Batch, Decomposition, decompose_weight, input_moments, linear_layers
from compress.networks import patterns
from compress.networks.checkpoint import Checkpoint
from device_asr.errors import UsageError

LEAST_LOST, MOST_LOST = 1e-4, 0.5  # of a layer's energy: where the search for the budget stays


@dataclass(frozen=True)
class LowRankSettings:
    """Which layers become how small.

    layers: names, or patterns with * and ?. energy: share of the sum of squared singular values that
    stays, in (0, 1]; 1 changes nothing. rank: for all layers instead, a multiple of `multiple`.
    activations: whether calibration clips weigh the inputs. multiple: ranks by energy are rounded up to
    it: 8 lanes of the kernels; 4-bit weights want their group. ridge: added to the covariance's diagonal,
    relative to its mean (on other speech than the calibration's, the error of eight layers of tiny.en was
    within 1 % from 1e-6 to 1e-2; 1e-1 cost the first layers 5 to 8 %).
    """

    layers: tuple[str, ...] = ("*",)
    energy: float | None = None
    rank: int | None = None
    activations: bool = True
    multiple: int = 8
    ridge: float = 1e-2

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", (self.layers,) if isinstance(self.layers, str) else tuple(self.layers))
        if (self.energy is None) == (self.rank is None):
            raise UsageError(f"lowrank: wanted either energy or rank, found energy {self.energy} and rank {self.rank}.")
        if self.energy is not None and not 0 < self.energy <= 1:
            raise UsageError(f"lowrank.energy: wanted a share in (0, 1], found {self.energy}.")
        if self.multiple < 1:
            raise UsageError(f"lowrank.multiple: wanted 1 or more, found {self.multiple}.")
        if self.rank is not None and (self.rank < 1 or self.rank % self.multiple):
            raise UsageError(f"lowrank.rank: wanted a multiple of {self.multiple}, found {self.rank}.")
        if not 0 < self.ridge < math.inf:
            raise UsageError(f"lowrank.ridge: wanted a number above 0, found {self.ridge}.")


@dataclass(frozen=True)
class LayerRank:
    """One chosen layer: its shape, the rank and the share of energy that goes with it, weights before and after.

    whole: whether the layer stayed so, as two factors of this rank would not be smaller.
    """

    name: str
    rows: int
    columns: int
    rank: int
    energy: float
    before: int
    after: int
    whole: bool


@dataclass(frozen=True)
class LowRankReport:
    """What was removed: each chosen layer, weights of the network before and after."""

    layers: tuple[LayerRank, ...]
    parameters_before: int
    parameters_after: int

    @property
    def skipped(self) -> tuple[str, ...]:
        """Names of the layers whose two factors would hold no fewer weights than they do."""
        return tuple(layer.name for layer in self.layers if layer.whole)


def factorize(
    checkpoint: Checkpoint, settings: LowRankSettings, calibration: Iterable[Batch] = ()
) -> tuple[Checkpoint, LowRankReport]:
    """The checkpoint with the chosen layers as products of two; energy 1 or no layers change nothing.

    Args:
        calibration: batches that weigh the layers' inputs, looked at where settings.activations is set.

    Raises:
        UsageError: a pattern without layer, a rank larger than a layer, no calibration batch.
    """
    chosen = patterns.choose(linear_layers(checkpoint.network()), settings.layers, "lowrank.layers")
    if not chosen or settings.energy == 1:
        return checkpoint, LowRankReport((), checkpoint.parameters, checkpoint.parameters)
    return cut(checkpoint, decompose(checkpoint, settings, calibration), settings)


def decompose(
    checkpoint: Checkpoint, settings: LowRankSettings, calibration: Iterable[Batch] = ()
) -> dict[str, Decomposition]:
    """Singular values of the chosen layers; the costly part, the same for every rank.

    Raises: see `factorize`.
    """
    network = checkpoint.network()
    linears = linear_layers(network)
    names = patterns.choose(linears, settings.layers, "lowrank.layers")
    for name in names:
        if settings.rank is not None and settings.rank > min(linears[name].weight.shape):
            raise UsageError(
                f"lowrank.rank: wanted at most {min(linears[name].weight.shape)}, the rank of {name}, "
                f"found {settings.rank}."
            )
    if not settings.activations:
        return {name: decompose_weight(linears[name].weight, None, settings.ridge) for name in names}
    moments = input_moments(network, names, calibration, checkpoint.vocabulary.end)
    return {name: decompose_weight(linears[name].weight, moments[name], settings.ridge) for name in names}


def cut(
    checkpoint: Checkpoint, decompositions: Mapping[str, Decomposition], settings: LowRankSettings
) -> tuple[Checkpoint, LowRankReport]:
    """The checkpoint with each decomposed layer at its rank, or whole where two factors were not smaller."""
    weights, ranks, layers = dict(checkpoint.weights), [], []
    for name, parts in decompositions.items():
        rank = settings.rank or parts.rank_of(settings.energy or 1.0, settings.multiple)
        rows, columns = weights[f"{name}.weight"].shape
        before, after = rows * columns, rank * (rows + columns)
        whole = after >= before
        layers.append(
            LayerRank(name, rows, columns, rank, parts.energy_of(rank), before, before if whole else after, whole)
        )
        if whole:
            continue
        weight, bias = weights.pop(f"{name}.weight"), weights.pop(f"{name}.bias", None)
        down, up = parts.factors(rank)
        weights[f"{name}.down.weight"], weights[f"{name}.up.weight"] = down, up
        if bias is not None:  # takes up what the mean input loses
            weights[f"{name}.up.bias"] = bias + weight @ parts.mean - up @ (down @ parts.mean)
        ranks.append((name, rank))
    if not ranks:
        return checkpoint, LowRankReport(tuple(layers), checkpoint.parameters, checkpoint.parameters)
    amount = f"energy {settings.energy:.4g}" if settings.rank is None else f"rank {settings.rank}"
    result = replace(checkpoint, weights=weights, dims=replace(checkpoint.dims, ranks=(*checkpoint.dims.ranks, *ranks)))
    note = (
        f"low rank: {len(ranks)} of {len(layers)} chosen layers as products of two, {amount}, "
        f"{'activation-aware' if settings.activations else 'plain'} SVD, "
        f"{checkpoint.parameters / 1e6:.2f} to {result.parameters / 1e6:.2f} M weights"
    )
    result = replace(result, provenance=(*checkpoint.provenance, note))
    return result, LowRankReport(tuple(layers), checkpoint.parameters, result.parameters)


# -- the loop ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One cut of the search: energy, weights, word error rate, and whether it holds the budget."""

    energy: float
    parameters: int
    wer: float
    holds: bool


@dataclass(frozen=True)
class Outcome:
    """Where the search ended.

    checkpoint: the smallest network that holds the budget; the one given where none did.
    report: what was removed of it. steps: every cut that was evaluated, the whole network first.
    held: whether any smaller network holds the budget. reason: the verdict in one sentence.
    """

    checkpoint: Checkpoint
    report: LowRankReport
    steps: tuple[Step, ...]
    held: bool
    reason: str


def within_budget(
    checkpoint: Checkpoint,
    calibration: Iterable[Batch],
    settings: LowRankSettings,
    evaluate: Callable[[Checkpoint], float],
    budget: float,
    steps: int = 8,
    report: Callable[[Step], None] = lambda _: None,
) -> Outcome:
    """The smallest network whose WER stays within `budget`, by bisection over the energy that is lost.

    Begins with settings.energy. Bisects the logarithm of 1 - energy between LEAST_LOST and MOST_LOST:
    WER grows with what is lost, over orders of magnitude. Cuts with the same ranks are evaluated once.

    Args:
        evaluate: WER as a share, 0.1 for 10 %. budget: the largest WER.
        steps: evaluations of cuts at most, besides the whole network's. report: called after each.

    Raises:
        UsageError: a budget or number of steps that cannot be, a rank instead of an energy; see `factorize`.
    """
    if not 0 <= budget < math.inf:
        raise UsageError(f"WER budget: wanted a share of 0 or more, such as 0.15, found {budget}.")
    if settings.energy is None or settings.energy == 1:
        raise UsageError(
            f"lowrank within a WER budget: wanted an energy below 1 to begin with, "
            f"found {'a rank' if settings.energy is None else settings.energy}."
        )
    if steps < 1:
        raise UsageError(f"lowrank within a WER budget: wanted 1 step or more, found {steps}.")
    decompositions = decompose(checkpoint, settings, calibration)
    done: list[Step] = []
    known: dict[tuple[tuple[str, int], ...], Step] = {}

    def measure(energy: float, cut_down: Checkpoint) -> Step:
        key = cut_down.dims.ranks
        if key not in known:
            wer = evaluate(cut_down)
            known[key] = Step(energy, cut_down.parameters, wer, wer <= budget)
            done.append(known[key])
            report(known[key])
        return known[key]

    best = checkpoint, LowRankReport((), checkpoint.parameters, checkpoint.parameters)
    whole = measure(1.0, checkpoint)
    if not whole.holds:
        return Outcome(
            *best,
            tuple(done),
            False,
            f"The network itself has a WER of {whole.wer:.2%}, above the budget of {budget:.2%}: nothing "
            "can be cut; raise the budget or train it first.",
        )
    low, high, lost = LEAST_LOST, MOST_LOST, 1 - settings.energy
    for _ in range(4 * steps):  # cuts that are known already cost nothing, but the search must end
        if len(done) > steps or high / low < 1.02:
            break
        smaller, removed = cut(checkpoint, decompositions, replace(settings, energy=1 - lost))
        if measure(1 - lost, smaller).holds:
            low = max(low, lost)
            if smaller.parameters < best[0].parameters:
                best = smaller, removed
        else:
            high = min(high, lost)
        lost = math.sqrt(low * high)
    held = best[0].parameters < checkpoint.parameters
    return Outcome(*best, tuple(done), held, _reason(best[0].parameters, checkpoint.parameters, done, budget))


def _reason(smallest: int, whole: int, done: Sequence[Step], budget: float) -> str:
    """Why the search ended with `smallest` of `whole` weights; the first step is of the whole network."""
    cuts = len(done) - 1
    if cuts == 0:
        return "No chosen layer gets smaller as two factors at any energy that was tried; name larger layers."
    if smallest < whole:
        return (
            f"{smallest / 1e6:.2f} of {whole / 1e6:.2f} M weights hold the WER budget of {budget:.2%}, "
            f"found in {cuts} steps."
        )
    return (
        f"None of {cuts} cuts holds the WER budget of {budget:.2%} (the whole network: {done[0].wer:.2%}); "
        "raise the budget, name fewer layers, or train after a cut."
    )
