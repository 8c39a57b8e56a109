"""Linear layers as singular values, plain or weighed by the layer's inputs on calibration clips.

Plain SVD keeps what is large in the weights; activation-aware SVD keeps what is large in the layer's
output: the weights are decomposed after multiplication with a root of the covariance of its inputs
(Wang et al. 2024, SVD-LLM, arXiv:2403.07378). Measured on tiny.en cut to 34.3 of 37.8 M weights, calibrated
on 226 s of LibriSpeech, on 16 clips of Common Voice: KL to the whole network 0.23 nats a token, plain 6.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compress.networks.factored import Factored
from compress.networks.family import family_of
from compress.networks.network import SpeechNetwork
from device_asr.errors import UsageError

Batch = tuple[Tensor, Tensor, Tensor]  # pcm (batch, samples), lengths (batch,), tokens (batch, n) padded with the end


@dataclass(frozen=True)
class Decomposition:
    """A layer's weights (rows, columns) as left (rows, k) * values (k,) * right (k, columns).

    values: descending. mean: (columns,) of the layer's inputs; zeros where it has no bias to take it up.
    """

    left: Tensor
    values: Tensor
    right: Tensor
    mean: Tensor

    def rank_of(self, energy: float, multiple: int) -> int:
        """The smallest multiple that keeps `energy` (may be above the full rank)."""
        kept = self.values.double().square().cumsum(0)
        wanted = energy * float(kept[-1])
        return multiple * math.ceil((int((kept < wanted).sum()) + 1) / multiple)

    def energy_of(self, rank: int) -> float:
        """The share of energy that `rank` values keep; 1 where there is none at all."""
        squares = self.values.double().square()
        return float(squares[:rank].sum() / squares.sum()) if float(squares.sum()) > 0 else 1.0

    def factors(self, rank: int) -> tuple[Tensor, Tensor]:
        """down (rank, columns) and up (rows, rank).

        The values' roots go to both: int8 scales a row of `up`, and the features between the two, by their
        largest, so that all of the values on one side would drown the small ones there.
        """
        roots = self.values[:rank].sqrt()
        return (roots[:, None] * self.right[:rank]).contiguous(), (self.left[:, :rank] * roots).contiguous()


def linear_layers(network: SpeechNetwork) -> dict[str, nn.Linear]:
    """The linear layers that are whole, by name; the tied embedding is none of them."""
    parts = tuple(f"{name}." for name, module in network.named_modules() if isinstance(module, Factored))
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and not name.startswith(parts)
    }


@dataclass(frozen=True)
class Moments:
    """Of a layer's inputs: mean (columns,) and covariance (columns, columns), float64."""

    mean: Tensor
    covariance: Tensor


def decompose_weight(weight: Tensor, moments: Moments | None, ridge: float) -> Decomposition:
    """Singular values of a weight (rows, columns), weighed by its inputs' moments; None: plain.

    Args:
        ridge: added to the covariance's diagonal, relative to its mean.
    """
    weight = weight.detach().double()
    if moments is None:
        left, values, right = torch.linalg.svd(weight, full_matrices=False)
        return Decomposition(left.float(), values.float(), right.float(), torch.zeros(weight.shape[1]))
    root = torch.linalg.cholesky(ridged(moments.covariance, ridge))
    left, values, right = torch.linalg.svd(weight @ root, full_matrices=False)
    right = torch.linalg.solve_triangular(root, right, upper=False, left=False)
    return Decomposition(left.float(), values.float(), right.float(), moments.mean.float())


def ridged(covariance: Tensor, ridge: float) -> Tensor:
    """A covariance (columns, columns) with `ridge`, relative to its diagonal's mean, added to the diagonal.

    Never nothing: a layer whose inputs never vary is treated as if all of them counted alike.
    """
    covariance = covariance.clone()
    covariance.diagonal().add_(max(ridge * float(covariance.diagonal().mean()), 1e-12))
    return covariance


@torch.no_grad()
def input_moments(
    network: SpeechNetwork, names: Iterable[str], calibration: Iterable[Batch], end: int
) -> dict[str, Moments]:
    """Moments of the named layers' inputs over all positions that are not padding.

    A layer without bias gets the second moments and a mean of zeros: nothing could take up a mean.

    Args:
        end: the token that texts are padded with.

    Raises:
        UsageError: a layer got no input, as there are no clips.
    """
    family = family_of(network.dims)
    linears = {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear)}
    sums: dict[str, Tensor] = {}
    products: dict[str, Tensor] = {}
    counts = dict.fromkeys(names, 0)
    batch: Batch | None = None

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        audio = family.audio_inputs(name)

        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            assert batch is not None  # hooks run only while a batch goes through the network
            lengths, tokens = batch[1:]
            if audio is None:
                known = tokens != end
            else:
                step, more = audio
                known = torch.arange(inputs[0].shape[1])[None] * step + more < lengths[:, None]
            rows = inputs[0][known].double()
            sums[name] = sums.get(name, 0.0) + rows.sum(0)
            products[name] = products.get(name, 0.0) + rows.T @ rows
            counts[name] += len(rows)

        return hook

    hooks = [linears[name].register_forward_pre_hook(watch(name)) for name in counts]
    try:
        for batch in calibration:
            network(batch[0], batch[2], batch[1])
    finally:
        for hook in hooks:
            hook.remove()
    if batch is None or not all(counts.values()):
        raise UsageError(
            "Inputs of layers: wanted calibration clips with audio and text, found none; give "
            "--corpus with such clips, or choose a technique that needs none."
        )
    moments = {}
    for name, count in counts.items():
        mean = sums[name] / count
        if linears[name].bias is None:
            moments[name] = Moments(torch.zeros_like(mean), products[name] / count)
        else:
            moments[name] = Moments(mean, products[name] / count - torch.outer(mean, mean))
    return moments
