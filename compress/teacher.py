"""What the teacher hears: greedy text with full context, and its best tokens at every step, cached."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from compress.augment import TrainingFrontend
from compress.checkpoints import Checkpoint
from compress.corpus import pad
from compress.texts import corrected
from compress.whisper import MASKED, Whisper
from device_asr.tokenizer import Vocabulary
from device_asr.wer import word_errors

CONTEXT = 480_000  # samples: 30 s, the length Whisper was trained on
BEST = 20  # tokens kept of each step's distribution
LONGEST = 200  # tokens
MOST_COMPRESSION = 2.4  # zlib ratio; openai/whisper's sign of a loop
MOST_WER = 0.3  # against a given text: more, and one of the two is of another sentence


@dataclass(frozen=True)
class Label:
    """The teacher's text of a clip.

    tokens: (n,) text ids, without prompt and end. best: (n + 1, BEST) int32 ids and
    logprobs: (n + 1, BEST) float16, the distributions that chose the tokens and the end.
    ended: whether the end token came before the length limit.
    """

    tokens: np.ndarray
    best: np.ndarray
    logprobs: np.ndarray
    ended: bool


@torch.no_grad()
def greedy(
    network: Whisper, vocabulary: Vocabulary, pcm: Tensor, lengths: Tensor | None = None, longest: int = LONGEST
) -> list[Label]:
    """Greedy decoding of a batch with cached keys and values.

    Args:
        pcm: (batch, samples); lengths: true samples of each, None where padding is part of the input.
    """
    return greedy_of(network, vocabulary, *network.encode(pcm, lengths), longest)


@torch.no_grad()
def greedy_of(
    network: Whisper, vocabulary: Vocabulary, audio: Tensor, mask: Tensor | None, longest: int = LONGEST
) -> list[Label]:
    """The same of the encoder's states (batch, positions, state) and their mask."""
    decoder, batch = network.decoder, audio.shape[0]
    cross = [layer.cross.keys_values(audio) for layer in decoder.layers]
    cross_mask = None if mask is None else mask[:, None]
    cache: list[tuple[Tensor, Tensor] | None] = [None] * len(cross)
    device = audio.device
    never = forbidden(vocabulary, decoder.dims.vocab).to(device)
    first = never.clone()
    first[list(vocabulary.suppress_first)] = -torch.inf
    feed = torch.tensor([list(vocabulary.prompt)] * batch, device=device)
    position, steps, running = 0, [], torch.ones(batch, dtype=torch.bool)
    tokens: list[list[int]] = [[] for _ in range(batch)]
    for step in range(longest):
        count = feed.shape[1]
        causal = torch.full((count, position + count), MASKED, device=device).triu(position + 1)
        x = decoder.embedding(feed) + decoder.positions[position : position + count]
        for i, layer in enumerate(decoder.layers):
            normed = layer.attention_norm(x)
            keys, values = layer.attention.keys_values(normed)
            if cache[i] is not None:
                keys, values = torch.cat([cache[i][0], keys], 2), torch.cat([cache[i][1], values], 1)
            cache[i] = (keys, values)
            x, _ = layer.finish(x + layer.attention(normed, keys, values, causal)[0], *cross[i], cross_mask)
        logits = F.linear(decoder.norm(x[:, -1]), decoder.embedding.weight)
        logprobs = torch.log_softmax(logits + (first if step == 0 else never), dim=-1)
        top = logprobs.topk(min(BEST, logprobs.shape[1]))
        steps.append((top.indices.to("cpu", torch.int32), top.values.clamp(min=-60.0).half().cpu(), running.clone()))
        choice = top.indices[:, 0]
        chosen = choice.tolist()
        for row in range(batch):
            if running[row]:
                if chosen[row] == vocabulary.end:
                    running[row] = False
                else:
                    tokens[row].append(chosen[row])
        if not running.any():
            break
        position += count
        feed = choice[:, None]
    labels = []
    for row in range(batch):
        kept = [(ids[row].numpy(), lps[row].numpy()) for ids, lps, alive in steps if alive[row]]
        labels.append(
            Label(
                np.array(tokens[row], np.int32),
                np.stack([k[0] for k in kept]),
                np.stack([k[1] for k in kept]),
                not bool(running[row]),
            )
        )
    return labels


def forbidden(vocabulary: Vocabulary, size: int) -> Tensor:
    """(size,) float32 added to logits: minus infinity for every id that is neither text nor the end."""
    never = torch.zeros(size)
    never[[*vocabulary.suppress, *(i for name, i in vocabulary.special.items() if name != "end")]] = -torch.inf
    never[len(vocabulary.pieces) + 1 :] = -torch.inf
    never[vocabulary.end] = 0.0
    return never


@torch.no_grad()
def forced(network: Whisper, vocabulary: Vocabulary, audio: Tensor, text: list[int]) -> Label:
    """What the teacher would say next, at every step of a text that is not its own.

    Args:
        audio: (1, positions, state), the encoder's output of one clip.
        text: ids. Where the teacher's best is another one, the text is certain: there it is wrong.
    """
    tokens = torch.tensor([[*vocabulary.prompt, *text]], device=audio.device)
    logits = network.decoder(tokens, audio)[0][0, len(vocabulary.prompt) - 1 :].float().cpu()
    top = torch.log_softmax(logits + forbidden(vocabulary, logits.shape[1]), dim=-1).topk(min(BEST, logits.shape[1]))
    best, logprobs = top.indices.to(torch.int32).numpy(), top.values.clamp(min=-60.0).half().numpy()
    wanted = np.array([*text, vocabulary.end], np.int32)
    wrong = best[:, 0] != wanted
    best[wrong] = wanted[wrong, None]
    logprobs[wrong] = np.array([0.0] + [-60.0] * (best.shape[1] - 1), np.float16)
    return Label(wanted[:-1], best, logprobs, True)


def full_context(network: Whisper, vocabulary: Vocabulary, clips: Sequence[np.ndarray]) -> list[Label]:
    """Labels of clips padded with silence to 30 s (longer ones are cut there)."""
    padded = [np.pad(clip[:CONTEXT], (0, CONTEXT - min(len(clip), CONTEXT))) for clip in clips]
    device = network.encoder.positions.device
    return greedy(network, vocabulary, torch.from_numpy(pad(padded)[0]).to(device))


def trusted(label: Label, vocabulary: Vocabulary, given: str | None) -> bool:
    """Whether a label may be learned from: it ended, says something, repeats nothing, and fits the given text.

    Args:
        given: the corpus's text of the same sound; None where there is none (or the clip was cut).
    """
    text = vocabulary.decode(label.tokens.tolist()).strip()
    if not label.ended or not text:
        return False
    data = text.encode()
    if len(data) / len(zlib.compress(data)) > MOST_COMPRESSION:
        return False
    rate = None if given is None else word_errors([(given, text)]).wer
    return rate is None or rate < MOST_WER


def fingerprint(checkpoint: Checkpoint) -> str:
    """16 hex digits of all weights and token ids: checkpoints that could answer otherwise never share it."""
    digest = hashlib.sha256(
        repr(
            (
                checkpoint.dims,
                sorted(checkpoint.vocabulary.special.items()),
                checkpoint.vocabulary.suppress,
                checkpoint.vocabulary.suppress_first,
            )
        ).encode()
    )
    digest.update(b"\n".join(checkpoint.vocabulary.pieces))
    for name in sorted(checkpoint.weights):
        digest.update(name.encode() + checkpoint.weights[name].contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


class LabelCache:
    """Labels on disk, one file a clip, keyed by the teacher's weights, the sound and its given text.

    A given text that fits what the teacher heard corrects it: see `texts.corrected`.
    """

    def __init__(self, folder: Path, teacher: Checkpoint, device: str = "cpu", bfloat16: bool = False) -> None:
        self._folder, self._teacher, self._device, self._bfloat16 = folder, teacher, device, bfloat16
        self._network: Whisper | None = None
        self._key = fingerprint(teacher)
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

    def load(self) -> Whisper:
        """The teacher's network, built once."""
        if self._network is None:
            self._network = self._teacher.network().to(self._device)
            self._network.frontend = TrainingFrontend(self._network.frontend)
        return self._network

    def _make(self, clips: Sequence[np.ndarray], given: Sequence[str | None]) -> list[Label]:
        from compress.vocabulary import encoder

        network, vocabulary = self.load(), self._teacher.vocabulary
        pcm = torch.from_numpy(
            np.stack([np.pad(clip[:CONTEXT], (0, CONTEXT - min(len(clip), CONTEXT))) for clip in clips])
        ).to(self._device)
        with torch.no_grad(), precision(self._device, self._bfloat16):
            audio, _ = network.encode(pcm)
            labels = greedy_of(network, vocabulary, audio, None)
            for row, (label, text) in enumerate(zip(labels, given, strict=True)):
                heard = vocabulary.decode(label.tokens.tolist()).strip()
                better = corrected(heard, text) if label.ended and heard and text else None
                if better is not None and better != heard:
                    labels[row] = forced(network, vocabulary, audio[row : row + 1], encoder(vocabulary)(" " + better))
        return labels

    def _read(self, path: Path) -> Label:
        with np.load(path) as stored:
            return Label(stored["tokens"], stored["best"], stored["logprobs"], bool(stored["ended"]))


def precision(device: str, bfloat16: bool) -> AbstractContextManager[Any]:
    """Computing in bfloat16, or as the weights are."""
    return torch.autocast(device.split(":")[0], dtype=torch.bfloat16) if bfloat16 else nullcontext()


def has_bfloat16(device: str) -> bool:
    """Whether `device` computes matrix products in bfloat16 natively.

    On a CPU with AVX512-BF16 training is 3.6 times as fast in it as in float32 (EPYC, two threads: 138 and
    38 s of sound a second); without the instruction it is emulated, and slower.
    """
    return device.startswith("cuda") or bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
