"""JSONL manifests to clips, and clips to batches of like length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from device_asr.audio.format import SAMPLE_RATE
from device_asr.errors import DeviceAsrError
from device_asr.metrics.clips import Clip, read_manifest

SHORTEST_CLIP_S, LONGEST_CLIP_S = 1.0, 29.0  # of a clip that is learned from: room for the padding within 30 s


class CorpusError(DeviceAsrError):
    """A corpus cannot be used."""


def usable(clip: Clip) -> bool:
    """Whether a clip is as long as those that are learned from, `SHORTEST_CLIP_S` to `LONGEST_CLIP_S`."""
    return clip.duration is not None and SHORTEST_CLIP_S <= clip.duration <= LONGEST_CLIP_S


def read_corpus(path: Path) -> list[Clip]:
    """Clips of a manifest, every one with its duration (read from the audio where the manifest has none).

    Raises:
        ManifestError: see `read_manifest`. CorpusError: an audio file cannot be read.
    """
    return [
        clip if clip.duration is not None else replace(clip, duration=_duration(clip.audio))
        for clip in read_manifest(path)
    ]


def _duration(audio: Path) -> float:
    import soundfile

    try:
        return soundfile.info(audio).duration
    except (OSError, soundfile.LibsndfileError) as error:
        raise _unreadable(audio, error) from None


def check_audio(clip: Clip) -> None:
    """Reads the header alone.

    Raises:
        CorpusError: missing, unreadable, or of another rate.
    """
    import soundfile

    try:
        rate = soundfile.info(clip.audio).samplerate
    except (OSError, soundfile.LibsndfileError) as error:
        raise _unreadable(clip.audio, error) from None
    _check_rate(clip.audio, rate)


def read_clip(clip: Clip) -> np.ndarray:
    """(n,) float32 at 16 kHz mono.

    Raises:
        CorpusError: unreadable, or of another rate.
    """
    import soundfile

    try:
        pcm, rate = soundfile.read(clip.audio, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise _unreadable(clip.audio, error) from None
    _check_rate(clip.audio, rate)
    return pcm.mean(axis=1)


def _unreadable(audio: Path, error: Exception) -> CorpusError:
    why = "it is missing" if not audio.exists() else str(error).rstrip(".")
    return CorpusError(f"The audio {audio} cannot be read: {why}; wanted the file that the manifest names.")


def _check_rate(audio: Path, rate: int) -> None:
    if rate != SAMPLE_RATE:
        raise CorpusError(f"{audio}: wanted {SAMPLE_RATE} Hz, found {rate} Hz; resample the corpus first.")


def batches(lengths: Sequence[float], size: int, rng: np.random.Generator) -> Iterator[list[int]]:
    """Indices in batches of like length, in random order: shuffled, sorted within 16 batches, shuffled again."""
    order = rng.permutation(len(lengths))
    groups: list[list[int]] = []
    for at in range(0, len(order), size * 16):
        block = sorted(order[at : at + size * 16], key=lambda i: lengths[i])
        groups += [[int(i) for i in block[k : k + size]] for k in range(0, len(block), size)]
    for index in rng.permutation(len(groups)):
        yield groups[index]


def pad(clips: Sequence[np.ndarray], multiple: int) -> tuple[np.ndarray, np.ndarray]:
    """Stacks clips into (batch, samples) float32, a multiple of `multiple` samples, and their lengths (batch,)."""
    lengths = np.array([len(clip) for clip in clips])
    longest = -(-int(lengths.max()) // multiple) * multiple
    out = np.zeros((len(clips), longest), np.float32)
    for row, clip in zip(out, clips, strict=True):
        row[: len(clip)] = clip
    return out, lengths
