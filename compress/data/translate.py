"""A teacher's label in a student's pruned vocabulary."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compress.networks.bpe import encoder
from compress.networks.label import Label
from device_asr.bundle.vocabulary import Vocabulary


def translator(old: Vocabulary, new: Vocabulary) -> Callable[[Label], Label]:
    """Rewrites a teacher's label in a pruned vocabulary.

    A kept token keeps its distribution over the kept tokens; one that was pruned becomes the pieces that
    spell it, each certain. Trained so, a student learns to spell what it lost: pruned without training,
    16 000 pieces cost 4 % WER absolute on librispeech-other-dev, 8 000 cost 11 %.
    """
    encode = encoder(new)
    ids = {piece: i for i, piece in enumerate(new.tokens)}
    table = np.full(max(old.size, max(old.special.values()) + 1), -1, np.int32)
    for i, piece in enumerate(old.tokens):
        table[i] = ids.get(piece, -1)
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
            for piece in encode(old.tokens[label.tokens[k]].decode("utf-8", "replace")):
                tokens.append(piece)
                best.append(np.full(width, piece, np.int32))
                logprobs.append(np.array([0.0] + [-60.0] * (width - 1), np.float16))
        return Label(np.array(tokens[:-1], np.int32), np.stack(best), np.stack(logprobs), label.ended)

    return translate
