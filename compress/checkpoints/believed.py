"""Checks a checkpoint that was read: its numbers fit one another before anything computes with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from compress.networks.checkpoint import Checkpoint
from compress.networks.weights import CheckpointError


def believed(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint, whose tensors fit its dims and whose ids, heads and notes are in range.

    Raises:
        CheckpointError: something is not; without its source, which `told` names.
    """
    checkpoint.check()
    for what, low, high, values in _ranges(checkpoint):
        for value in values:
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value < high:
                raise CheckpointError(
                    f"Wanted {what} to be whole numbers from {low} to {high - 1}, found {str(value)[:60]!r}; "
                    "the checkpoint is damaged, copy or make it again."
                )
    if not all(isinstance(note, str) for note in checkpoint.provenance):
        raise CheckpointError("Wanted a provenance of texts, found others; the checkpoint is damaged.")
    for name, tensor in checkpoint.weights.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(
                f"Tensor {name}: wanted finite numbers, found an infinite one or none; the checkpoint is damaged, "
                "copy or make it again."
            )
    return checkpoint


def _ranges(checkpoint: Checkpoint) -> Iterator[tuple[str, int, int, Iterable[Any]]]:
    """(what, lowest, first too high, values) of all numbers besides the dims."""
    vocabulary, dims = checkpoint.vocabulary, checkpoint.dims
    given = [*vocabulary.prompt, vocabulary.end, *vocabulary.suppress, *vocabulary.suppress_first]
    yield "ids of tokens", 0, dims.vocab, given if vocabulary.no_speech is None else [*given, vocabulary.no_speech]
    yield "the number of text tokens", 1, dims.vocab + 1, [len(vocabulary.tokens)]
    yield "layers of alignment heads", 0, len(dims.decoder), [layer for layer, _ in checkpoint.alignment_heads]
    for layer, head in checkpoint.alignment_heads:
        yield f"alignment heads of layer {layer}", 0, dims.decoder[layer].cross_heads, [head]
