"""JSONL manifests to clips, and clips to batches of like length."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.frontend import SAMPLE_RATE, SAMPLES_PER_POSITION
from device_asr.errors import DeviceAsrError


class CorpusError(DeviceAsrError):
    """A corpus cannot be used."""


@dataclass(frozen=True)
class Clip:
    """One line of a manifest: the sound's path, its text (None: none), seconds."""

    path: Path
    text: str | None
    duration: float


def read_manifest(path: Path) -> list[Clip]:
    """Clips of a manifest; sounds are relative to its folder.

    Raises:
        CorpusError: missing, a line that is not an object with audio and duration, or no clip at all.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise CorpusError(f"Corpus {path} cannot be read: {error.strerror}; wanted a JSONL manifest.") from None
    clips = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            clips.append(Clip(path.parent / entry["audio"], entry.get("text"), float(entry["duration"])))
        except (ValueError, KeyError, TypeError) as error:
            raise CorpusError(f"{path}, line {number}: wanted an object with audio, text and duration, "
                              f"found {line[:60]!r} ({error}).") from None
    if not clips:
        raise CorpusError(f"Corpus {path} has no clip; wanted at least one line.")
    return clips


def read_clip(clip: Clip) -> np.ndarray:
    """(n,) float32 at 16 kHz mono.

    Raises:
        CorpusError: unreadable, or of another rate.
    """
    import soundfile

    try:
        pcm, rate = soundfile.read(clip.path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise CorpusError(f"{clip.path} cannot be read: {error}.") from None
    if rate != SAMPLE_RATE:
        raise CorpusError(f"{clip.path}: wanted {SAMPLE_RATE} Hz, found {rate} Hz; resample the corpus first.")
    return pcm.mean(axis=1)


def batches(lengths: Sequence[float], size: int, rng: np.random.Generator) -> Iterator[list[int]]:
    """Indices in batches of like length, in random order: shuffled, sorted within 16 batches, shuffled again."""
    order = rng.permutation(len(lengths))
    groups: list[list[int]] = []
    for at in range(0, len(order), size * 16):
        block = sorted(order[at : at + size * 16], key=lambda i: lengths[i])
        groups += [[int(i) for i in block[k : k + size]] for k in range(0, len(block), size)]
    for index in rng.permutation(len(groups)):
        yield groups[index]


def pad(clips: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Stacks clips into (batch, samples) float32, a multiple of 320 samples, and their lengths (batch,)."""
    lengths = np.array([len(clip) for clip in clips])
    longest = -(-int(lengths.max()) // SAMPLES_PER_POSITION) * SAMPLES_PER_POSITION
    out = np.zeros((len(clips), longest), np.float32)
    for row, clip in zip(out, clips, strict=True):
        row[: len(clip)] = clip
    return out, lengths
