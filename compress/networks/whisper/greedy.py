"""Greedy decoding of Whisper with cached keys and values."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from compress.networks.label import Label
from compress.networks.masks import causal
from compress.networks.whisper.network import Whisper
from device_asr.bundle.vocabulary import Vocabulary

BEST = 20  # tokens kept of each step's distribution
LONGEST = 200  # tokens of a text


@torch.no_grad()
def greedy(network: Whisper, vocabulary: Vocabulary, audio: Tensor, mask: Tensor | None) -> list[Label]:
    """Greedy decoding of a batch with cached keys and values, without guards.

    Args:
        audio: (batch, positions, state), the encoder's states. mask: (batch, positions) of 0 and MASKED; None: none.
    """
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
    for step in range(LONGEST):
        count = feed.shape[1]
        mask = causal(count, position + count, device)
        x = decoder.embedding(feed) + decoder.positions[position : position + count]
        for i, layer in enumerate(decoder.layers):
            normed = layer.attention_norm(x)
            keys, values = layer.attention.keys_values(normed)
            if (earlier := cache[i]) is not None:
                keys, values = torch.cat([earlier[0], keys], 2), torch.cat([earlier[1], values], 1)
            cache[i] = (keys, values)
            x, _ = layer.finish(x + layer.attention(normed, keys, values, mask)[0], *cross[i], cross_mask)
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
    never[[*vocabulary.suppress, *(i for i in vocabulary.special if i != vocabulary.end)]] = -torch.inf
    never[len(vocabulary.tokens) + 1 :] = -torch.inf
    never[vocabulary.end] = 0.0
    return never


@torch.no_grad()
def forced(network: Whisper, vocabulary: Vocabulary, audio: Tensor, text: list[int]) -> Label:
    """The network's distribution at every step of a given text.

    Args:
        audio: (1, positions, state), the encoder's states of one clip.
        text: ids. Where the network's best token is another one, the text's token gets all probability.
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
