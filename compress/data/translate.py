"""A teacher's label in a student's pruned vocabulary."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compress.networks.label import Label
from device_asr.bundle.vocabulary import Vocabulary


def translator(old: Vocabulary, new: Vocabulary, encode: Callable[[str], list[int]]) -> Callable[[Label], Label]:
    """A function that rewrites a teacher's label in a pruned vocabulary; none is needed where the two are equal.

    A kept token keeps its distribution over the kept tokens; a pruned token becomes the tokens that spell it,
    each with all probability. Trained so, a student learns to spell what it lost: pruned without training,
    16 000 tokens cost 4 % WER absolute on librispeech-other-dev, 8 000 cost 11 %.

    Args:
        encode: byte-pair encoding into ids of `new`.
    """
    if new == old:
        return lambda label: label
    ids = {token: i for i, token in enumerate(new.tokens)}
    table = np.full(old.size, -1, np.int32)
    for i, token in enumerate(old.tokens):
        table[i] = ids.get(token, -1)
    table[old.end] = new.end

    def translate(label: Label) -> Label:
        tokens: list[int] = []
        best, logprobs = [], []
        width = label.best.shape[1]
        for k in range(len(label.tokens) + 1):
            kept = table[label.best[k]]
            known = int(table[label.tokens[k]]) if k < len(label.tokens) else new.end
            if known >= 0:
                tokens.append(known)
                best.append(np.where(kept >= 0, kept, known))
                logprobs.append(np.where(kept >= 0, label.logprobs[k], np.float16(-60.0)))
                continue
            for part in encode(old.tokens[label.tokens[k]].decode("utf-8", "replace")):
                tokens.append(part)
                best.append(np.full(width, part, np.int32))
                logprobs.append(np.array([0.0] + [-60.0] * (width - 1), np.float16))
        return Label(np.array(tokens[:-1], np.int32), np.stack(best), np.stack(logprobs), label.ended)

    return translate
