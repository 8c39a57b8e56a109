"""Accuracy of checkpoints in fp32: the bar that programs on the device are held to.

`python -m compress.evaluate teacher MANIFEST --json` prints one {"audio", "text"} a clip.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from compress import checkpoints, vocabulary
from compress.checkpoints import Checkpoint
from compress.corpus import pad, read_clip
from compress.teacher import full_context, greedy
from device_asr.errors import DeviceAsrError
from device_asr.manifest import Clip, read_manifest

BATCH = 8


@dataclass(frozen=True)
class SizeRow:
    """One vocabulary size: pieces kept, weights left, word error rate."""

    pieces: int
    parameters: int
    wer: float


def texts(checkpoint: Checkpoint, clips: Sequence[Clip], padded: bool = True) -> Iterator[tuple[Clip, str]]:
    """Greedy fp32 text of each clip, padded to 30 s or (without guards) not at all."""
    network = checkpoint.network()
    for at in range(0, len(clips), BATCH):
        group = clips[at : at + BATCH]
        sounds = [read_clip(clip) for clip in group]
        if padded:
            labels = full_context(network, checkpoint.vocabulary, sounds)
        else:
            pcm, lengths = pad(sounds)
            labels = greedy(network, checkpoint.vocabulary, torch.from_numpy(pcm), torch.from_numpy(lengths))
        for clip, label in zip(group, labels, strict=True):
            yield clip, checkpoint.vocabulary.decode(label.tokens.tolist()).strip()


def vocabulary_sizes(source: str, manifest: Path, sizes: Iterable[int], padded: bool) -> Iterator[SizeRow]:
    """WER of a checkpoint pruned to each vocabulary size."""
    from device_asr.wer import word_errors

    whole, clips = checkpoints.load(source), read_manifest(manifest)
    for size in sizes:
        pruned, _ = vocabulary.prune(whole, size)
        heard = [(clip.text or "", text) for clip, text in texts(pruned, clips, padded)]
        yield SizeRow(size, pruned.parameters, word_errors(heard).wer)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a model's fp32 text of every clip of a manifest."""
    parser = argparse.ArgumentParser(prog="python -m compress.evaluate", description=main.__doc__)
    parser.add_argument("model", help="teacher, or any checkpoint")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--json", action="store_true", help="one JSON object a clip")
    parser.add_argument("--short-context", action="store_true", help="no padding to 30 s")
    parser.add_argument("--limit", type=int, help="only the first clips")
    options = parser.parse_args(arguments)
    try:
        checkpoint = checkpoints.load("tiny.en" if options.model == "teacher" else options.model)
        clips = read_manifest(options.manifest)[: options.limit]
        for clip, text in texts(checkpoint, clips, not options.short_context):
            name = str(clip.audio.relative_to(options.manifest.parent))
            print(json.dumps({"audio": name, "text": text}) if options.json else f"{name}\t{text}", flush=True)
    except DeviceAsrError as error:
        print(f"compress.evaluate: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
