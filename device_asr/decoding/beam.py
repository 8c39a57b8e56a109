"""Beam search: several texts of an utterance are followed side by side, as in Whisper's own decoding.

Each step keeps the `width` likeliest ways to go on of all texts; when as many have ended, the text with the best
mean log-probability of its tokens is taken (openai/whisper, decoding.py). Few words are likelier than many: a text
that ends long before where the greedy one was last heard was cut short, and is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from device_asr.decoding.attention import heard
from device_asr.decoding.run import Run

if TYPE_CHECKING:
    from device_asr.decoding.decoder import Decoder
    from device_asr.decoding.hypothesis import Encoded, Hypothesis

CUT_SHORT = 25  # positions of 20 ms: 15 words of librispeech-other-dev are lost so, without it 23


@dataclass(frozen=True, slots=True)
class Text:
    """One of the texts. logprobs: one a token. row: the logits of what comes next, (vocab,)."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    row: np.ndarray
    run: Run


Way = tuple[Text, int, float]  # a text, the token that it may go on with, and that one's log-probability


def search(decoder: Decoder, encoded: Encoded, greedy: Hypothesis, width: int) -> Hypothesis:
    """The likeliest of the first `width` texts that end, or the greedy one."""
    earliest = _reach(greedy) - CUT_SHORT
    texts = [
        found
        for found in _ended(decoder, encoded, greedy, width)
        if found.tokens and _reach(found) >= earliest and not decoder.compresses(found.tokens)
    ]
    return max([greedy, *texts], key=_mean)


def _ended(decoder: Decoder, encoded: Encoded, greedy: Hypothesis, width: int) -> list[Hypothesis]:
    """The first `width` texts that end; fewer where the others become too long or loop."""
    run = decoder.begin(encoded)
    texts = [Text((), (), run.begin(decoder.vocabulary.prompt)[-1], run)]
    limit, ended = decoder.token_limit(encoded.seconds), []
    while texts and len(ended) < width:
        further: list[Way] = []
        for text, token, logprob in _ways(decoder, texts, width):
            if token == decoder.vocabulary.end:
                alignment = text.run.alignment(len(text.tokens))
                ended.append(
                    replace(greedy, tokens=text.tokens, logprobs=text.logprobs, alignment=alignment, ending=logprob)
                )
            else:
                further.append((text, token, logprob))
            if len(further) == width:
                break
        texts = _follow(decoder, further, limit)
    return ended


def _ways(decoder: Decoder, texts: Sequence[Text], width: int) -> list[Way]:
    """How the texts may go on, the likeliest first: each in as many ways as are followed, and one for its end."""
    ways = []
    for text in texts:
        choices = decoder.choices(text.row, first=not text.tokens)
        for _ in range(width + 1):
            token = int(choices.argmax())
            ways.append((text, token, float(choices[token])))
            choices[token] = -np.inf
    return sorted(ways, key=lambda way: -sum(way[0].logprobs) - way[2])


def _follow(decoder: Decoder, ways: Sequence[Way], limit: int) -> list[Text]:
    """The texts one token on, without those that are too long or loop."""
    kept = [way for way in ways if len(way[0].tokens) < limit and not decoder.repeats((*way[0].tokens, way[1]))]
    texts = []
    for k, (text, token, logprob) in enumerate(kept):
        needed = any(other is text for other, *_ in kept[k + 1 :])
        run = text.run.fork() if needed else text.run
        texts.append(Text((*text.tokens, token), (*text.logprobs, logprob), run.next_row(token), run))
    return texts


def _mean(found: Hypothesis) -> float:
    """Log-probability of a token, the end among them."""
    return (sum(found.logprobs) + found.ending) / (len(found.tokens) + 1)


def _reach(found: Hypothesis) -> int:
    """The position up to which the last token was heard; 0 where no head tells."""
    attention = found.alignment[:, len(found.tokens) - 1]
    return int(heard(attention)) if len(attention) else 0
