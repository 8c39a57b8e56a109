"""Calibration clips: audio with the teacher's text, not augmented, to measure importance and ranges on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from compress.data.corpus import pad, read_clip
from compress.data.labels import LabelCache, trusted
from compress.data.targets import Targets, targets
from compress.data.translate import translator
from compress.networks.checkpoint import Checkpoint
from compress.networks.label import Label
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.metrics.clips import Clip

BATCH = 8


@dataclass(frozen=True)
class CalibrationClip:
    """A clip's audio, (n,) float32 at 16 kHz, and the teacher's text of it in a student's vocabulary."""

    audio: np.ndarray
    label: Label


def calibration_clips(clips: Sequence[Clip], cache: LabelCache, student: Vocabulary) -> Iterator[CalibrationClip]:
    """The clips whose label is trusted, each label translated to the student's vocabulary.

    Args:
        cache: the teacher's labels.

    Raises:
        CorpusError: an audio file cannot be read.
    """
    teacher = cache.teacher
    translate = translator(teacher.vocabulary, student, teacher.family_of().token_encoder(student))
    for at in range(0, len(clips), BATCH):
        group = clips[at : at + BATCH]
        recordings = [read_clip(clip) for clip in group]
        labels = cache.labels(recordings, [clip.text for clip in group])
        for clip, audio, label in zip(group, recordings, labels, strict=True):
            if trusted(label, teacher.vocabulary, clip.text):
                yield CalibrationClip(audio, translate(label))


def labeled_batches(clips: Sequence[CalibrationClip], student: Checkpoint) -> Iterator[tuple[Tensor, Tensor, Targets]]:
    """Batches of like length: pcm (batch, samples) float32, lengths (batch,) samples, and the targets."""
    multiple = student.family_of().samples_per_position
    ordered = sorted(clips, key=lambda one: len(one.audio))
    for at in range(0, len(ordered), BATCH):
        group = ordered[at : at + BATCH]
        pcm, lengths = pad([one.audio for one in group], multiple)
        yield (
            torch.from_numpy(pcm),
            torch.from_numpy(lengths),
            targets([one.label for one in group], student.vocabulary),
        )


def token_batches(clips: Sequence[CalibrationClip], student: Checkpoint) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Batches of like length: pcm, lengths, and the decoder's input tokens (batch, n), padded with the end."""
    for pcm, lengths, wanted in labeled_batches(clips, student):
        yield pcm, lengths, wanted.tokens


def with_tokens(clips: Sequence[CalibrationClip], vocabulary: Vocabulary) -> list[tuple[np.ndarray, list[int]]]:
    """Each audio with all ids that the decoder is given for it, the prompt first."""
    return [(one.audio, [*vocabulary.prompt, *one.label.tokens.tolist()]) for one in clips]
