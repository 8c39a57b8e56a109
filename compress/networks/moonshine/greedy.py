"""Greedy decoding of Moonshine with cached keys and values."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from compress.networks.label import LONGEST, Label, forced_label, greedy_labels
from compress.networks.masks import causal
from compress.networks.moonshine.frontend import OVERHANG, SAMPLES_PER_POSITION
from compress.networks.moonshine.network import Moonshine
from compress.networks.moonshine.rotary import turns
from device_asr.audio.format import SAMPLE_RATE
from device_asr.bundle.vocabulary import Vocabulary

TOKENS_PER_SECOND = 6.5  # its makers stop there; 6.2 was the most on 133 clips of speech


@torch.no_grad()
def greedy(network: Moonshine, vocabulary: Vocabulary, audio: Tensor, mask: Tensor | None) -> list[Label]:
    """Greedy decoding of a batch with cached keys and values, at most `TOKENS_PER_SECOND`.

    Args:
        audio: (batch, positions, state), the encoder's states. mask: (batch, positions) of 0 and MASKED; None: none.
    """
    decoder = network.decoder
    cross = [layer.cross.keys_values(audio) for layer in decoder.layers]
    cross_mask = None if mask is None else mask[:, None]
    cache: list[tuple[Tensor, Tensor] | None] = [None] * len(cross)

    def step(feed: Tensor, position: int) -> Tensor:
        count = feed.shape[1]
        own_mask = causal(count, position + count, audio.device)
        at = turns(torch.arange(position, position + count, device=audio.device), decoder.dims.rotary)
        x = decoder.embedding(feed)
        for i, layer in enumerate(decoder.layers):
            normed = layer.attention_norm(x)
            keys, values = layer.attention.keys_values(normed)
            keys = layer.attention.turned_keys(keys, at)
            if (earlier := cache[i]) is not None:
                keys, values = torch.cat([earlier[0], keys], 2), torch.cat([earlier[1], values], 1)
            cache[i] = (keys, values)
            queries = layer.attention.turned_queries(normed, at)
            x, _ = layer.finish(x + layer.attention.attend(queries, keys, values, own_mask)[0], *cross[i], cross_mask)
        return F.linear(decoder.norm(x[:, -1]), decoder.embedding.weight)

    known = [audio.shape[1]] * len(audio) if mask is None else (mask == 0).sum(1).tolist()
    return greedy_labels(step, vocabulary, decoder.dims.vocab, [longest(count) for count in known], audio.device)


def longest(positions: int) -> int:
    """Most tokens of the text of so many positions."""
    seconds = (positions * SAMPLES_PER_POSITION + OVERHANG) / SAMPLE_RATE
    return min(LONGEST, math.ceil(TOKENS_PER_SECOND * seconds))


@torch.no_grad()
def forced(network: Moonshine, vocabulary: Vocabulary, audio: Tensor, text: list[int]) -> Label:
    """The network's distribution at every step of a given text.

    Args:
        audio: (1, positions, state), the encoder's states of one clip.
        text: ids. Where the network's best token is another one, the text's token gets all probability.
    """
    tokens = torch.tensor([[*vocabulary.prompt, *text]], device=audio.device)
    return forced_label(network.decoder(tokens, audio)[0][0, len(vocabulary.prompt) - 1 :], vocabulary, text)
