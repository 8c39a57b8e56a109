"""What a student is trained toward: the teacher's text, and its best tokens at every step of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from compress.networks.label import Label
from device_asr.bundle.symbols import BLANK
from device_asr.bundle.vocabulary import Vocabulary

NOTHING = -100  # target of a position that is padding


@dataclass(frozen=True)
class Targets:
    """Labels of a batch as tensors.

    tokens: (batch, prompt + n - 1) int64, the decoder's input. text: (batch, n) int64, the next tokens,
    the end included, NOTHING after it. best: (batch, n, k) int64 and logprobs: (batch, n, k) float32.
    prompt: ids before the first text token. words: in all texts.
    """

    tokens: Tensor
    text: Tensor
    best: Tensor
    logprobs: Tensor
    prompt: int
    words: int

    @property
    def count(self) -> int:
        """Positions that are learned from."""
        return int((self.text != NOTHING).sum())

    def to(self, device: str) -> Targets:
        """The same on `device`."""
        return Targets(
            self.tokens.to(device),
            self.text.to(device),
            self.best.to(device),
            self.logprobs.to(device),
            self.prompt,
            self.words,
        )


def targets(labels: Sequence[Label], vocabulary: Vocabulary) -> Targets:
    """Stacks labels, shorter ones padded."""
    prompt, end = vocabulary.prompt, vocabulary.end
    width = max(len(label.tokens) for label in labels) + 1
    tokens = torch.full((len(labels), len(prompt) + width - 1), end)
    text = torch.full((len(labels), width), NOTHING)
    best = torch.zeros(len(labels), width, labels[0].best.shape[1], dtype=torch.int64)
    logprobs = torch.zeros(best.shape)
    tokens[:, : len(prompt)] = torch.tensor(prompt)
    for row, label in enumerate(labels):
        n = len(label.tokens)
        ids = torch.from_numpy(label.tokens.astype(np.int64))
        tokens[row, len(prompt) : len(prompt) + n] = ids
        text[row, :n], text[row, n] = ids, end
        best[row, : n + 1] = torch.from_numpy(label.best[: n + 1].astype(np.int64))
        logprobs[row, : n + 1] = torch.from_numpy(label.logprobs[: n + 1].astype(np.float32))
    words = sum(len(vocabulary.decode(label.tokens.tolist()).split()) for label in labels)
    return Targets(tokens, text, best, logprobs, len(prompt), words)


def distillation_loss(logits: Tensor, wanted: Targets, soft: float, hard: float, temperature: float = 1.0) -> Tensor:
    """soft x KL(teacher's best tokens || student) + hard x cross-entropy on the text, mean over tokens.

    The teacher's distribution is renormalized over the tokens kept of it; both sides are divided by
    `temperature` and the term multiplied by its square (Hinton et al. 2015). The student's is over the
    whole vocabulary, so that weight on any other token costs.

    Args:
        logits: (batch, prompt + n - 1, vocab) float32, of `wanted.tokens`.
    """
    logits = logits[:, wanted.prompt - 1 :]
    valid = wanted.text != NOTHING
    ours = logits[valid]
    theirs = torch.log_softmax(wanted.logprobs[valid] / temperature, dim=-1)
    student = torch.log_softmax(ours / temperature, dim=-1).gather(1, wanted.best[valid])
    divergence = (theirs.exp() * (theirs - student)).sum(-1).mean() * temperature**2
    return soft * divergence + hard * F.cross_entropy(ours, wanted.text[valid])


def ctc_loss(symbols: Tensor, counts: Tensor, spoken: Sequence[Sequence[int]]) -> Tensor:
    """Connectionist temporal classification, mean over symbols; a text too long for its audio counts nothing.

    Args:
        symbols: (batch, positions, symbols) float32 logits. counts: (batch,) int64, positions of each clip.
        spoken: the symbols of each clip's text.
    """
    spelled = torch.tensor([len(ids) for ids in spoken])
    flat = torch.tensor([i for ids in spoken for i in ids], dtype=torch.int64)
    logprobs = torch.log_softmax(symbols, dim=-1).transpose(0, 1)
    return F.ctc_loss(
        logprobs,
        flat.to(symbols.device),
        counts.cpu(),
        spelled,
        blank=BLANK,
        zero_infinity=True,
    )


def distance(states: Tensor, wanted: Tensor, mask: Tensor | None) -> Tensor:
    """Mean square distance of encoder states, both (batch, ..., state), where the audio is.

    Args:
        mask: (batch, ...), 0 there; None: everywhere.
    """
    apart = (states.float() - wanted.float()).square().mean(-1)
    return apart.mean() if mask is None else apart[mask == 0].mean()
