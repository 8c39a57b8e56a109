"""Greedy search: the likeliest token at each step, with drafts and guards."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from device_asr.decoding.guards import Guards
from device_asr.decoding.hypothesis import Encoded, Hypothesis
from device_asr.decoding.program import DecodeProgram
from device_asr.decoding.run import Draft, Run


def greedy_search(
    program: DecodeProgram,
    guards: Guards,
    encoded: Encoded,
    draft: Sequence[int] = (),
    forced: Sequence[int] = (),
    bias: float = 0.0,
    more: int | None = None,
    enough: Callable[[np.ndarray], bool] | None = None,
) -> Hypothesis:
    """The greedy text of an utterance.

    Args:
        draft: likely tokens (an earlier hypothesis). They are checked in one call and kept where greedy decoding
            gives them too: 20 tokens cost 6 ms so instead of 30.
        forced: tokens that the text must begin with (committed before).
        bias: a token of the draft is kept while it is at most this much less likely than the best one, in nats.
        more: largest number of tokens behind as many as the draft has; further ones are a loop. None: no such limit.
        enough: the text ends with the first token whose attention (heads, positions) makes this true.
    """
    limit = guards.token_limit(encoded.seconds, program.capacity)
    if more is not None:
        limit = min(limit, max(len(draft), len(forced)) + more)
    pending = _pending(draft, forced)
    run, expected = Run(program, encoded, program.caches), Draft(pending)
    rows = run.begin(pending)
    no_speech = program.no_speech(rows[0])
    tokens: list[int] = []
    logprobs: list[float] = []
    row, looped, ending = rows[-1], False, 0.0
    while True:
        choices = program.choices(row, not tokens, encoded.spoken)
        token = forced[len(tokens)] if len(tokens) < len(forced) else _choose(choices, expected, bias)
        if token == program.vocabulary.end:
            ending = float(choices[token])
            break
        if len(tokens) >= limit:
            looped = True
            break
        tokens.append(token)
        logprobs.append(float(choices[token]))
        if repeat := guards.repeats(tokens):
            del tokens[-repeat:], logprobs[-repeat:]
            looped = True
            break
        if enough is not None and len(tokens) > len(forced) and enough(run.attention(len(tokens) - 1)):
            break
        expected.take(token)
        row = run.next_row(token, expected.rest)
    looped = looped or guards.compresses(tokens)
    return Hypothesis(tuple(tokens), tuple(logprobs), no_speech, run.alignment(len(tokens)), looped, ending)


def _pending(draft: Sequence[int], forced: Sequence[int]) -> list[int]:
    """The tokens to check: the forced ones, then the draft's where it begins with them."""
    return [*forced, *draft[len(forced) :]] if tuple(draft[: len(forced)]) == tuple(forced) else list(forced)


def _choose(choices: np.ndarray, expected: Draft, bias: float) -> int:
    """The likeliest token, or the expected one where it is at most `bias` nats less likely."""
    best = int(np.argmax(choices))
    return expected.rest[0] if expected.rest and choices[best] - choices[expected.rest[0]] <= bias else best
