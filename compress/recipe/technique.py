"""What a technique is: a step of a recipe, with its settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.data.training_data import TrainingData
from compress.networks.checkpoint import Checkpoint

Run = Callable[[Checkpoint, Any, TrainingData, Path], tuple[Checkpoint, Any]]


@dataclass(frozen=True)
class Technique:
    """A step of a recipe.

    run: checkpoint, settings, data and a folder for what goes on after a cut -> the new checkpoint and
    a report, a dataclass of plain numbers. learns: whether settings depend on the recipe's clips. reads: other
    checkpoints that the settings name.
    zeros: whether it leaves single weights at zero that later training keeps there.
    """

    settings: type
    run: Run
    learns: Callable[[Any], bool] = lambda settings: False
    zeros: bool = False
    reads: Callable[[Any], Sequence[str]] = lambda settings: ()
