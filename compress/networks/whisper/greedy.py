"""Greedy decoding of Whisper with cached keys and values."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from compress.networks.label import LONGEST, Label, forced_label, greedy_labels
from compress.networks.masks import causal
from compress.networks.whisper.network import Whisper
from device_asr.bundle.vocabulary import Vocabulary


@torch.no_grad()
def greedy(network: Whisper, vocabulary: Vocabulary, audio: Tensor, mask: Tensor | None) -> list[Label]:
    """Greedy decoding of a batch with cached keys and values, without guards.

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
        x = decoder.embedding(feed) + decoder.positions[position : position + count]
        for i, layer in enumerate(decoder.layers):
            normed = layer.attention_norm(x)
            keys, values = layer.attention.keys_values(normed)
            if (earlier := cache[i]) is not None:
                keys, values = torch.cat([earlier[0], keys], 2), torch.cat([earlier[1], values], 1)
            cache[i] = (keys, values)
            x, _ = layer.finish(x + layer.attention(normed, keys, values, own_mask)[0], *cross[i], cross_mask)
        return F.linear(decoder.norm(x[:, -1]), decoder.embedding.weight)

    return greedy_labels(step, vocabulary, decoder.dims.vocab, [LONGEST] * audio.shape[0], audio.device)


@torch.no_grad()
def forced(network: Whisper, vocabulary: Vocabulary, audio: Tensor, text: list[int]) -> Label:
    """The network's distribution at every step of a given text.

    Args:
        audio: (1, positions, state), the encoder's states of one clip.
        text: ids. Where the network's best token is another one, the text's token gets all probability.
    """
    tokens = torch.tensor([[*vocabulary.prompt, *text]], device=audio.device)
    return forced_label(network.decoder(tokens, audio)[0][0, len(vocabulary.prompt) - 1 :], vocabulary, text)
