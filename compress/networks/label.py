"""The teacher's text of a clip, with its best tokens at every step; greedy decoding writes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from compress.networks.network import SpeechNetwork
from device_asr.bundle.vocabulary import Vocabulary

BEST = 20  # tokens kept of each step's distribution
LONGEST = 200  # tokens of a text
LEAST = -60.0  # log probability; float16 holds it


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


def forbidden(vocabulary: Vocabulary, size: int) -> Tensor:
    """(size,) float32 added to logits: minus infinity for every id that is neither text nor the end."""
    never = torch.zeros(size)
    never[[*vocabulary.unwritten, *(i for i in vocabulary.special if i != vocabulary.end)]] = -torch.inf
    never[len(vocabulary.tokens) + 1 :] = -torch.inf
    never[vocabulary.end] = 0.0
    return never


@torch.no_grad()
def greedy(
    network: SpeechNetwork, vocabulary: Vocabulary, audio: Tensor, mask: Tensor | None, longest: Sequence[int]
) -> list[Label]:
    """Greedy decoding of a batch with cached keys and values, without guards.

    Args:
        audio: (batch, positions, state), the encoder's states. mask: (batch, positions) of 0 and MASKED; None: none.
        longest: most tokens of each text of the batch.
    """
    return greedy_labels(network.decoder.steps(audio, mask), vocabulary, network.dims.vocab, longest, audio.device)


@torch.no_grad()
def forced(network: SpeechNetwork, vocabulary: Vocabulary, audio: Tensor, text: list[int]) -> Label:
    """The network's distribution at every step of a given text.

    Args:
        audio: (1, positions, state), the encoder's states of one clip.
        text: ids. Where the network's best token is another one, the text's token gets all probability.
    """
    tokens = torch.tensor([[*vocabulary.prompt, *text]], device=audio.device)
    return forced_label(network.decode(tokens, audio)[0, len(vocabulary.prompt) - 1 :], vocabulary, text)


def greedy_labels(
    step: Callable[[Tensor, int], Tensor],
    vocabulary: Vocabulary,
    size: int,
    longest: Sequence[int],
    device: torch.device,
) -> list[Label]:
    """Greedy decoding of a batch, without guards.

    Args:
        step: tokens (batch, n) int64 and the position of the first of them, to the logits (batch, size) after the
            last; it keeps what it needs of the tokens before.
        longest: most tokens of each text of the batch.
    """
    batch = len(longest)
    never = forbidden(vocabulary, size).to(device)
    first = never.clone()
    first[list(vocabulary.suppress_first)] = -torch.inf
    feed = torch.tensor([list(vocabulary.prompt)] * batch, device=device)
    position, steps, running = 0, [], np.array([most > 0 for most in longest])
    ended = np.zeros(batch, bool)
    tokens: list[list[int]] = [[] for _ in range(batch)]
    while running.any():
        logprobs = torch.log_softmax(step(feed, position) + (first if position == 0 else never), dim=-1)
        top = logprobs.topk(min(BEST, size))
        steps.append((top.indices.to("cpu", torch.int32), top.values.clamp(min=LEAST).half().cpu(), running.copy()))
        choice = top.indices[:, 0]
        for row, chosen in enumerate(choice.tolist()):
            if not running[row]:
                continue
            if chosen == vocabulary.end:
                ended[row] = True
            else:
                tokens[row].append(chosen)
            running[row] = not ended[row] and len(tokens[row]) < longest[row]
        position += feed.shape[1]
        feed = choice[:, None]
    labels = []
    for row in range(batch):
        kept = [(ids[row].numpy(), lps[row].numpy()) for ids, lps, alive in steps if alive[row]]
        labels.append(
            Label(
                np.array(tokens[row], np.int32),
                np.stack([k[0] for k in kept]),
                np.stack([k[1] for k in kept]),
                bool(ended[row]),
            )
        )
    return labels


def forced_label(logits: Tensor, vocabulary: Vocabulary, text: list[int]) -> Label:
    """The distribution at every step of a given text.

    Args:
        logits: (n + 1, size), after the prompt and after each token of the text.
        text: n ids. Where the best token is another one, the text's token gets all probability.
    """
    logits = logits.float().cpu()
    top = torch.log_softmax(logits + forbidden(vocabulary, logits.shape[1]), dim=-1).topk(min(BEST, logits.shape[1]))
    best, logprobs = top.indices.to(torch.int32).numpy(), top.values.clamp(min=LEAST).half().numpy()
    wanted = np.array([*text, vocabulary.end], np.int32)
    wrong = best[:, 0] != wanted
    best[wrong] = wanted[wrong, None]
    logprobs[wrong] = np.array([0.0] + [LEAST] * (best.shape[1] - 1), np.float16)
    return Label(wanted[:-1], best, logprobs, True)
