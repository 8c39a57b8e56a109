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
from compress.networks.chunking import Chunking, without_look_ahead
from compress.networks.family import family_of
from compress.networks.label import Label
from compress.networks.masks import position_count
from compress.networks.network import SpeechNetwork
from compress.prune.vocabulary import prune
from device_asr.bundle.symbols import path_text
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.errors import UsageError
from device_asr.metrics.clips import Clip, read_manifest
from device_asr.metrics.wer import word_errors

BATCH = 8


@dataclass(frozen=True)
class SizeRow:
    """One vocabulary size: text tokens kept, weights left, word error rate."""

    tokens: int
    parameters: int
    wer: float


@dataclass(frozen=True)
class Accuracy:
    """Word error rate of greedy text without guards, and how many of the clips have a text that is a loop."""

    wer: float
    loops: int
    clips: int


def decode_clips(
    network: SpeechNetwork,
    vocabulary: Vocabulary,
    clips: Sequence[Clip],
    padded: bool = True,
    chunking: Chunking | None = None,
) -> Iterator[tuple[Clip, Label]]:
    """Greedy decoding of each clip, without guards.

    Args:
        padded: as the family's teachers are given them; else not at all, and whole or in chunks.
    """
    family = family_of(network.dims)
    for at in range(0, len(clips), BATCH):
        group = clips[at : at + BATCH]
        recordings = [read_clip(clip) for clip in group]
        if padded:
            labels = full_context(network, vocabulary, recordings)
        else:
            with torch.no_grad():
                pcm, lengths = pad(recordings, family.samples_per_position)
                states, mask = network.encode(torch.from_numpy(pcm), torch.from_numpy(lengths), chunking)
            labels = family.greedy(network, vocabulary, states, mask)
        yield from zip(group, labels, strict=True)


def texts(
    checkpoint: Checkpoint, clips: Sequence[Clip], padded: bool = True, chunking: Chunking | None = None
) -> Iterator[tuple[Clip, str]]:
    """Greedy fp32 text of each clip, see `decode_clips`."""
    for clip, label in decode_clips(checkpoint.network(), checkpoint.vocabulary, clips, padded, chunking):
        yield clip, checkpoint.vocabulary.decode(label.tokens.tolist()).strip()


def accuracy(network: SpeechNetwork, vocabulary: Vocabulary, clips: Sequence[Clip], padded: bool = False) -> Accuracy:
    """Measures a network on clips with texts, see `decode_clips`.

    Raises:
        CorpusError: the texts hold no word.
    """
    found = word_errors(
        (clip.text or "", vocabulary.decode(label.tokens.tolist()).strip())
        for clip, label in decode_clips(network, vocabulary, clips, padded)
    )
    if found.wer is None:
        raise CorpusError(f"Wanted clips with texts to measure WER on, found none among {len(clips)}.")
    return Accuracy(found.wer, found.loops, found.clips)


def ctc_texts(
    checkpoint: Checkpoint, clips: Sequence[Clip], chunking: Chunking | None = None
) -> Iterator[tuple[Clip, str]]:
    """The best path of the CTC head for each clip, fp32, encoded whole or in chunks."""
    network, family = checkpoint.network(), checkpoint.family_of()
    if network.ctc is None:
        raise UsageError("Wanted a checkpoint with a CTC head, found none; add the stage `ctc` and train it.")
    if chunking is None and len(network.ctc.norms):
        raise UsageError(
            "Wanted chunks for a CTC head that reads several layers, found none; give --chunks SIZE,LEFT,AHEAD."
        )
    for at in range(0, len(clips), BATCH):
        group = clips[at : at + BATCH]
        pcm, lengths = pad([read_clip(clip) for clip in group], family.samples_per_position)
        counts = position_count(torch.from_numpy(lengths) - family.overhang, family.samples_per_position)
        audio = torch.from_numpy(pcm), torch.from_numpy(lengths)
        with torch.no_grad():
            if chunking is None:
                symbols = network.ctc(network.encode(*audio)[0])
            else:
                states, _ = network.encode_chunks(*audio, chunking)
                symbols = without_look_ahead(network.symbols(states, chunking), chunking)
        for clip, row, count in zip(group, symbols.numpy(), counts.tolist(), strict=True):
            yield clip, path_text(row[: max(0, count)].argmax(axis=1).tolist())


def vocabulary_sizes(source: str, manifest: Path, sizes: Iterable[int], padded: bool) -> Iterator[SizeRow]:
    """WER of a checkpoint pruned to each vocabulary size."""
    whole, clips = load_checkpoint(source), read_manifest(manifest)
    for size in sizes:
        pruned, _ = prune(whole, size)
        yield SizeRow(size, pruned.parameters, accuracy(pruned.network(), pruned.vocabulary, clips, padded).wer)
