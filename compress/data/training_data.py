"""What techniques use besides the checkpoint: the teacher, the clips, background noise and labels."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from compress.data.calibration import CalibrationClip, calibration_clips
from compress.data.corpus import (
    LONGEST_CLIP_S,
    SHORTEST_CLIP_S,
    CorpusError,
    check_audio,
    read_corpus,
    usable,
)
from compress.data.labels import LabelCache, has_bfloat16
from compress.networks.checkpoint import Checkpoint
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.metrics.clips import Clip

Progress = Callable[[str, float | None, str], None]  # stage, fraction done (None: begun), note


class TrainingData:
    """What techniques use besides the checkpoint.

    counts: manifest -> clips taken of it, or "all". corpus, noise: folders; None: none. labels: folder of
    the teacher's labels.
    zeros_stay: whether an earlier stage of the recipe pruned single weights, which training then leaves at
    zero. The build sets it as it walks the stages, also where it finds their results on disk.
    """

    def __init__(
        self,
        teacher: Checkpoint,
        counts: Mapping[str, int | str],
        corpus: Path | None,
        noise: Path | None,
        labels: Path,
        progress: Progress,
    ) -> None:
        self.teacher, self.labels, self.progress = teacher, labels, progress
        self.zeros_stay = False
        self._counts, self._corpus, self._noise = counts, corpus, noise

    @cached_property
    def clips(self) -> list[Clip]:
        """The recipe's clips, see `choose_clips`."""
        return choose_clips(self._corpus, self._counts)

    def clips_of(self, counts: Mapping[str, int | str]) -> list[Clip]:
        """The clips of a stage that names its own, see `choose_clips`; of none the recipe's."""
        return choose_clips(self._corpus, counts) if counts else self.clips

    @cached_property
    def noises(self) -> list[np.ndarray]:
        """Background recordings, (n,) float32 at 16 kHz each."""
        import soundfile

        paths = [] if self._noise is None else sorted(self._noise.glob("*.opus"))
        return [soundfile.read(path, dtype="float32")[0] for path in paths]

    def sample(self, count: int, texts: bool = False) -> list[Clip]:
        """At most `count` of the clips, drawn with a fixed seed; texts: only clips that have a text."""
        clips = [clip for clip in self.clips if clip.text or not texts]
        return random.Random(1).sample(clips, min(count, len(clips)))

    def calibration_clips(self, vocabulary: Vocabulary, count: int) -> list[CalibrationClip]:
        """Some of the clips with the teacher's label in `vocabulary`, without those whose label is not trusted."""
        cache = LabelCache(self.labels, self.teacher, bfloat16=has_bfloat16("cpu"))
        return list(calibration_clips(self.sample(count), cache, vocabulary))

    def evaluation_clips(self, name: str, count: int) -> list[Clip]:
        """The first `count` clips with a text of a manifest of the corpus folder, to measure WER on.

        Raises:
            CorpusError: no folder was given, no clip has a text, an audio file is missing or of another rate.
            ManifestError: see `read_manifest`.
        """
        if self._corpus is None:
            raise CorpusError(
                f"The recipe measures on {name}: wanted a folder of manifests, found none; give --corpus FOLDER."
            )
        path = self._corpus / f"{name}.jsonl"
        clips = [clip for clip in read_corpus(path) if clip.text][:count]
        if not clips:
            raise CorpusError(f"{path}: wanted clips with texts to measure WER on, found none.")
        for clip in clips:
            check_audio(clip)
        return clips


def choose_clips(corpus: Path | None, counts: Mapping[str, int | str]) -> list[Clip]:
    """Clips of 1 to 29 s, drawn from each manifest with a fixed seed; the headers of their recordings are read.

    Raises:
        CorpusError: no folder was given, it has no such clip, or an audio file is missing or of another rate.
        ManifestError: see `read_manifest`.
    """
    if corpus is None:
        raise CorpusError("The recipe needs clips: wanted a folder of manifests, found none; give --corpus FOLDER.")
    rng = random.Random(0)
    chosen: list[Clip] = []
    for name, count in counts.items():
        clips = [clip for clip in read_corpus(corpus / f"{name}.jsonl") if usable(clip)]
        rng.shuffle(clips)
        chosen += clips if count == "all" else clips[: int(count)]
    if not chosen:
        raise CorpusError(
            f"{corpus}: wanted clips of {SHORTEST_CLIP_S:g} to {LONGEST_CLIP_S:g} s in "
            f"{', '.join(f'{name}.jsonl' for name in counts) or 'manifests'}, found none; the recipe's "
            "[corpus] names them."
        )
    for clip in chosen:
        check_audio(clip)
    return chosen
