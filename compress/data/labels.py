"""The teacher's labels: greedy text with full context and its best tokens at every step, cached on disk."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compress.data.augment import prepare_frontend
from compress.data.corpus import pad
from compress.data.references import corrected
from compress.networks.checkpoint import Checkpoint
from compress.networks.family import Family, family_of
from compress.networks.label import Label
from compress.networks.network import SpeechNetwork
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.metrics.wer import word_errors

CACHE_VERSION = 1  # goes into the keys on disk; raised when labels of the same inputs change
MOST_COMPRESSION = 2.4  # zlib ratio; above it openai/whisper takes a text for a loop
MOST_WER = 0.3  # against a given text: more, and one of the two is of another sentence


def in_full_context(clips: Sequence[np.ndarray], family: Family) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Clips as the family's teachers are given them.

    Returns:
        (batch, samples) float32, and the lengths (batch,) where the padding is not for the teacher to see.
    """
    samples = family.context_samples
    cut = [clip[:samples] for clip in clips]
    if family.padded_context:
        return torch.from_numpy(np.stack([np.pad(clip, (0, samples - len(clip))) for clip in cut])), None
    pcm, lengths = pad(cut, family.samples_per_position)
    return torch.from_numpy(pcm), torch.from_numpy(lengths)


@torch.no_grad()
def full_context_states(
    network: SpeechNetwork, clips: Sequence[np.ndarray]
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Encoder states and their mask of clips in the context that the family's teachers are given."""
    device = next(network.parameters()).device
    pcm, lengths = in_full_context(clips, family_of(network.dims))
    return network.encode(pcm.to(device), None if lengths is None else lengths.to(device))


@torch.no_grad()
def full_context(network: SpeechNetwork, vocabulary: Vocabulary, clips: Sequence[np.ndarray]) -> list[Label]:
    """Labels of clips in the context that the family's teachers are given."""
    return family_of(network.dims).greedy(network, vocabulary, *full_context_states(network, clips))


def trusted(label: Label, vocabulary: Vocabulary, given: str | None) -> bool:
    """Whether a label may be learned from: it ended, says something, repeats nothing, and fits the given text.

    Args:
        given: the corpus's text of the same audio; None where there is none (or the clip was cut).
    """
    text = vocabulary.decode(label.tokens.tolist()).strip()
    if not label.ended or not text:
        return False
    data = text.encode()
    if len(data) / len(zlib.compress(data)) > MOST_COMPRESSION:
        return False
    rate = None if given is None else word_errors([(given, text)]).wer
    return rate is None or rate < MOST_WER


class LabelCache:
    """Labels on disk, one file a clip, keyed by the teacher's weights, the audio and its given text.

    A given text that fits the teacher's text corrects it: see `references.corrected`.
    """

    def __init__(self, folder: Path, teacher: Checkpoint, device: str = "cpu", bfloat16: bool = False) -> None:
        self.teacher = teacher
        self._folder, self._device, self._bfloat16 = folder, device, bfloat16
        self._network: SpeechNetwork | None = None
        self._key = f"{CACHE_VERSION} {teacher.key()}"
        folder.mkdir(parents=True, exist_ok=True)

    def _path(self, clip: np.ndarray, given: str | None) -> Path:
        key = hashlib.sha256(f"{self._key} {given!r} ".encode() + clip.tobytes())
        return self._folder / f"{key.hexdigest()[:32]}.npz"

    def labels(self, clips: Sequence[np.ndarray], given: Sequence[str | None]) -> list[Label]:
        """The labels of clips and their given texts (None: none), computed where they are not on disk yet."""
        paths = [self._path(clip, text) for clip, text in zip(clips, given, strict=True)]
        missing = [i for i, path in enumerate(paths) if not path.exists()]
        if missing:
            made = self._make([clips[i] for i in missing], [given[i] for i in missing])
            for i, label in zip(missing, made, strict=True):
                temporary = paths[i].with_suffix(f".{os.getpid()}.partial")
                with temporary.open("wb") as file:
                    np.savez(file, tokens=label.tokens, best=label.best, logprobs=label.logprobs, ended=label.ended)
                temporary.replace(paths[i])
        return [self._read(path) for path in paths]

    def load(self) -> SpeechNetwork:
        """The teacher's network, built once."""
        if self._network is None:
            self._network = self.teacher.network().to(self._device)
            prepare_frontend(self._network)
            if self._bfloat16:
                lower_decoder(self._network)
        return self._network

    def _make(self, clips: Sequence[np.ndarray], given: Sequence[str | None]) -> list[Label]:
        network, vocabulary, family = self.load(), self.teacher.vocabulary, self.teacher.family_of()
        with torch.no_grad(), precision(self._device, self._bfloat16):
            states, mask = full_context_states(network, clips)
            labels = family.greedy(network, vocabulary, states, mask)
            for row, (label, text) in enumerate(zip(labels, given, strict=True)):
                written = vocabulary.decode(label.tokens.tolist()).strip()
                better = corrected(written, text) if label.ended and written and text else None
                if better is not None and better != written:
                    ids = family.token_encoder(vocabulary)(" " + better)
                    count = states.shape[1] if mask is None else int((mask[row] == 0).sum())
                    labels[row] = family.forced(network, vocabulary, states[row : row + 1, :count], ids)
        return labels

    def _read(self, path: Path) -> Label:
        with np.load(path) as stored:
            return Label(stored["tokens"], stored["best"], stored["logprobs"], bool(stored["ended"]))


def lower_decoder(network: SpeechNetwork) -> None:
    """Stores the linear layers of the decoder in bfloat16, in place: computing in it then casts no weights.

    The text is the same. Greedy decoding of 8 clips casts the weights at every token otherwise, which takes longer
    than the products.
    """
    for name, module in network.named_modules():
        if name.startswith("decoder.") and isinstance(module, torch.nn.Linear):
            module.to(torch.bfloat16)


def precision(device: str, bfloat16: bool) -> AbstractContextManager[Any]:
    """Computing in bfloat16, or as the weights are."""
    return torch.autocast(device.split(":")[0], dtype=torch.bfloat16) if bfloat16 else nullcontext()


def has_bfloat16(device: str) -> bool:
    """Whether `device` computes matrix products in bfloat16 natively.

    On a CPU with AVX512-BF16 training is 3.6 times as fast in it as in float32 (EPYC, two threads: 138 and
    38 s of audio a second); without the instruction it is emulated, and slower.
    """
    return device.startswith("cuda") or bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
