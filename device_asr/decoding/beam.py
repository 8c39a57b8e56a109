"""Beam search: it follows several texts of an utterance side by side, as Whisper's own decoding does.

Each step keeps the `width` likeliest continuations of all texts. When `width` texts have ended, the search takes the
one with the best mean log-probability of its tokens (openai/whisper, decoding.py). Few words are likelier than many,
so a text is dropped as cut short where its last token attends to audio long before the last token of the greedy text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from device_asr.decoding.alignment import attended_position
from device_asr.decoding.guards import Guards
from device_asr.decoding.hypothesis import Encoded, Hypothesis
from device_asr.decoding.program import DecodeProgram
from device_asr.decoding.run import Run

CUT_SHORT_S = 0.5  # 15 words of librispeech-other-dev are lost so, without it 23


@dataclass(frozen=True, slots=True)
class Text:
    """One of the texts. logprobs: one per token. row: the logits (vocab,) of its next token."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    row: np.ndarray
    run: Run


@dataclass(frozen=True, slots=True)
class Continuation:
    """A text, a token that it may go on with, and the token's log-probability."""

    text: Text
    token: int
    logprob: float

    @property
    def cost(self) -> float:
        """Negative log-probability of the text with the token."""
        return -sum(self.text.logprobs) - self.logprob


def beam_search(program: DecodeProgram, guards: Guards, encoded: Encoded, greedy: Hypothesis, width: int) -> Hypothesis:
    """The likeliest of the greedy text and the first `width` texts that end.

    Args:
        greedy: the greedy text of the same utterance.
    """
    earliest = _reach(greedy) - round(CUT_SHORT_S / program.position_s)
    texts = [
        found
        for found in _ended(program, guards, encoded, greedy, width)
        if found.tokens and _reach(found) >= earliest and not guards.compresses(found.tokens)
    ]
    return max([greedy, *texts], key=_mean_logprob)


def _ended(
    program: DecodeProgram, guards: Guards, encoded: Encoded, greedy: Hypothesis, width: int
) -> list[Hypothesis]:
    """The first `width` texts that end; fewer where the others become too long or loop."""
    run = Run(program, encoded, program.caches)
    texts = [Text((), (), run.begin()[-1], run)]
    limit = guards.token_limit(encoded.seconds, program.capacity)
    ended: list[Hypothesis] = []
    while texts and len(ended) < width:
        further: list[Continuation] = []
        for one in _continuations(program, texts, width, encoded.spoken):
            if one.token == program.vocabulary.end:
                ended.append(_end(one, greedy))
            else:
                further.append(one)
            if len(further) == width:
                break
        texts = _follow([one for one in further if _may_go_on(one, guards, limit)])
    return ended


def _continuations(program: DecodeProgram, texts: Sequence[Text], width: int, spoken: bool) -> list[Continuation]:
    """The `width` + 1 likeliest continuations of each text, the likeliest of all first; one may be a text's end."""
    found = []
    for text in texts:
        choices = program.choices(text.row, not text.tokens, spoken)
        for _ in range(width + 1):
            token = int(choices.argmax())
            found.append(Continuation(text, token, float(choices[token])))
            choices[token] = -np.inf
    return sorted(found, key=lambda one: one.cost)


def _end(one: Continuation, greedy: Hypothesis) -> Hypothesis:
    """The text as a hypothesis of the utterance of `greedy`."""
    text = one.text
    alignment = text.run.alignment(len(text.tokens))
    return replace(greedy, tokens=text.tokens, logprobs=text.logprobs, alignment=alignment, ending=one.logprob)


def _may_go_on(one: Continuation, guards: Guards, limit: int) -> bool:
    return len(one.text.tokens) < limit and not guards.repeats((*one.text.tokens, one.token))


def _follow(kept: Sequence[Continuation]) -> list[Text]:
    """The texts with their next token; a run is copied where a later continuation needs it too."""
    texts = []
    for k, one in enumerate(kept):
        text = one.text
        needed = any(other.text is text for other in kept[k + 1 :])
        run = text.run.fork() if needed else text.run
        row = run.next_row(one.token)
        texts.append(Text((*text.tokens, one.token), (*text.logprobs, one.logprob), row, run))
    return texts


def _mean_logprob(found: Hypothesis) -> float:
    """Mean log-probability of a token, the end among them."""
    return (sum(found.logprobs) + found.ending) / (len(found.tokens) + 1)


def _reach(found: Hypothesis) -> int:
    """The position up to which the last token attends; 0 without alignment heads."""
    attention = found.alignment[:, len(found.tokens) - 1]
    return int(attended_position(attention)) if len(attention) else 0
