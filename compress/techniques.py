"""The techniques a recipe may name: settings and checkpoint in, checkpoint out."""

from __future__ import annotations

import difflib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from compress import vocabulary
from compress.checkpoints import Checkpoint, add_ctc
from compress.corpus import CorpusError, read_corpus
from compress.distill import distill
from compress.distill_recipe import DistillRecipe
from device_asr.errors import UsageError
from device_asr.manifest import Clip

Progress = Callable[[str, float | None, str], None]  # stage, fraction done (None: begun), note


class Material:
    """What techniques may draw on besides the checkpoint: the teacher, sound, and a place for labels.

    counts: manifest -> clips taken of it, or "all". corpus, noise: folders; None: none.
    """

    def __init__(self, teacher: Checkpoint, counts: Mapping[str, int | str], corpus: Path | None,
                 noise: Path | None, labels: Path, progress: Progress) -> None:
        self.teacher, self.labels, self.progress = teacher, labels, progress
        self._counts, self._corpus, self._noise = counts, corpus, noise

    @cached_property
    def clips(self) -> list[Clip]:
        """The recipe's clips, see `choose_clips`."""
        return choose_clips(self._corpus, self._counts)

    @cached_property
    def noises(self) -> list[np.ndarray]:
        """Background sounds, (n,) float32 at 16 kHz each."""
        import soundfile

        paths = [] if self._noise is None else sorted(self._noise.glob("*.opus"))
        return [soundfile.read(path, dtype="float32")[0] for path in paths]


def choose_clips(corpus: Path | None, counts: Mapping[str, int | str]) -> list[Clip]:
    """Clips of 1 to 29 s, drawn from each manifest with a fixed seed.

    Raises:
        CorpusError: no folder was given.
    """
    if corpus is None:
        raise CorpusError("The recipe trains: wanted a folder of manifests, found none; give --corpus FOLDER.")
    rng = random.Random(0)
    chosen: list[Clip] = []
    for name, count in counts.items():
        clips = [clip for clip in read_corpus(corpus / f"{name}.jsonl") if 1.0 <= (clip.duration or 0.0) <= 29.0]
        rng.shuffle(clips)
        chosen += clips if count == "all" else clips[: int(count)]
    return chosen


@dataclass(frozen=True)
class VocabularySettings:
    """size: text pieces that stay, see `vocabulary.select`."""

    size: int


@dataclass(frozen=True)
class Technique:
    """A step of a recipe. learns: whether it depends on the recipe's clips."""

    settings: type
    run: Callable[[Checkpoint, Any, Material, Path], Checkpoint]
    learns: bool = False


def _vocabulary(checkpoint: Checkpoint, settings: VocabularySettings, material: Material, folder: Path) -> Checkpoint:
    return vocabulary.prune(checkpoint, settings.size)[0]


def _distill(checkpoint: Checkpoint, settings: DistillRecipe, material: Material, folder: Path) -> Checkpoint:
    def report(values: dict[str, Any]) -> None:
        material.progress("distill", values["step"] / values["of"],
                          f"loss {values['loss']}, {values['speed']:.1f} s of sound and {values['words']:.1f} words a "
                          f"second, {values['left'] / 60:.0f} min left")

    return distill(material.teacher, checkpoint, material.clips, material.noises, settings, folder, report,
                   labels=material.labels)


@dataclass(frozen=True)
class NoSettings:
    """A technique without settings."""


def _ctc(checkpoint: Checkpoint, settings: NoSettings, material: Material, folder: Path) -> Checkpoint:
    return add_ctc(checkpoint)


TECHNIQUES = {
    "ctc": Technique(NoSettings, _ctc),
    "vocabulary": Technique(VocabularySettings, _vocabulary),
    "distill": Technique(DistillRecipe, _distill, learns=True),
}


def settings_of(table: Mapping[str, Any]) -> tuple[Technique, Any]:
    """A recipe's table as a technique and its checked settings.

    Raises:
        UsageError: no such technique (the nearest is named), unknown or missing settings.
    """
    values = dict(table)
    name = values.pop("do", None)
    if name not in TECHNIQUES:
        near = difflib.get_close_matches(str(name), TECHNIQUES, 1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise UsageError(f"Recipe, a table of [[stages]]: wanted do = one of {', '.join(TECHNIQUES)}, "
                         f"found {name!r}{hint}")
    technique = TECHNIQUES[name]
    try:
        return technique, technique.settings(**values)
    except TypeError as error:
        raise UsageError(f"Recipe, stage {name}: {error}.") from None
