"""Accuracy of checkpoints in fp32: the bar that programs on the device are held to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from compress.checkpoints.load import load_checkpoint
from compress.data.corpus import CorpusError, pad, read_clip
from compress.data.labels import full_context
from compress.networks.checkpoint import Checkpoint
from compress.networks.chunking import Chunking
from compress.networks.label import Label
from compress.networks.whisper.frontend import SAMPLES_PER_POSITION
from compress.networks.whisper.greedy import greedy_of
from compress.networks.whisper.network import Whisper
from compress.prune.vocabulary import prune
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.decoding.ctc import greedy_text
from device_asr.errors import UsageError
from device_asr.metrics.clips import Clip, read_manifest
from device_asr.metrics.wer import word_errors

BATCH = 8


@dataclass(frozen=True)
class SizeRow:
    """One vocabulary size: pieces kept, weights left, word error rate."""

    tokens: int
    parameters: int
    wer: float


@dataclass(frozen=True)
class Accuracy:
    """Of greedy text without guards: word error rate, and clips whose text is a loop, of how many."""

    wer: float
    loops: int
    clips: int


def heard(
    network: Whisper,
    vocabulary: Vocabulary,
    clips: Sequence[Clip],
    padded: bool = True,
    chunking: Chunking | None = None,
) -> Iterator[tuple[Clip, Label]]:
    """What a network says of each clip, padded to 30 s or not at all, whole or in chunks; greedy, without guards."""
    for at in range(0, len(clips), BATCH):
        group = clips[at : at + BATCH]
        recordings = [read_clip(clip) for clip in group]
        if padded:
            labels = full_context(network, vocabulary, recordings)
        else:
            with torch.no_grad():
                audio, mask = network.encode(*map(torch.from_numpy, pad(recordings)), chunking)
            labels = greedy_of(network, vocabulary, audio, mask)
        yield from zip(group, labels, strict=True)


def texts(
    checkpoint: Checkpoint, clips: Sequence[Clip], padded: bool = True, chunking: Chunking | None = None
) -> Iterator[tuple[Clip, str]]:
    """Greedy fp32 text of each clip, see `heard`."""
    for clip, label in heard(checkpoint.network(), checkpoint.vocabulary, clips, padded, chunking):
        yield clip, checkpoint.vocabulary.decode(label.tokens.tolist()).strip()


def accuracy(network: Whisper, vocabulary: Vocabulary, clips: Sequence[Clip], padded: bool = False) -> Accuracy:
    """Measures a network on clips with texts, see `heard`.

    Raises:
        CorpusError: the texts hold no word.
    """
    found = word_errors(
        (clip.text or "", vocabulary.decode(label.tokens.tolist()).strip())
        for clip, label in heard(network, vocabulary, clips, padded)
    )
    if found.wer is None:
        raise CorpusError(f"Wanted clips with texts to measure WER on, found none among {len(clips)}.")
    return Accuracy(found.wer, found.loops, found.clips)


def ctc_texts(
    checkpoint: Checkpoint, clips: Sequence[Clip], chunking: Chunking | None = None
) -> Iterator[tuple[Clip, str]]:
    """What the CTC head hears in each clip, best path, fp32, whole or in chunks."""
    network = checkpoint.network()
    if network.ctc is None:
        raise UsageError("Wanted a checkpoint with a CTC head, found none; add the stage `ctc` and train it.")
    for at in range(0, len(clips), BATCH):
        group = clips[at : at + BATCH]
        pcm, lengths = pad([read_clip(clip) for clip in group])
        with torch.no_grad():
            symbols = network.ctc(network.encode(torch.from_numpy(pcm), torch.from_numpy(lengths), chunking)[0])
        for clip, row, samples in zip(group, symbols.numpy(), lengths, strict=True):
            yield clip, greedy_text(row[: -(-int(samples) // SAMPLES_PER_POSITION)])


def vocabulary_sizes(source: str, manifest: Path, sizes: Iterable[int], padded: bool) -> Iterator[SizeRow]:
    """WER of a checkpoint pruned to each vocabulary size."""
    whole, clips = load_checkpoint(source), read_manifest(manifest)
    for size in sizes:
        pruned, _ = prune(whole, size)
        yield SizeRow(size, pruned.parameters, accuracy(pruned.network(), pruned.vocabulary, clips, padded).wer)
