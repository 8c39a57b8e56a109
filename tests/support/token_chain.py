"""A decoder whose next token depends on the last one alone, so that every text's probability is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from device_asr.bundle.bundle import load
from device_asr.config import DecodingConfig
from device_asr.decoding.cache import Caches
from device_asr.decoding.decoder import Decoder
from device_asr.decoding.hypothesis import Encoded

NEVER = 100.0  # nats
POSITIONS = 50

Costs = Mapping[int | None, Mapping[int | None, float]]  # last -> next -> nats; None: the beginning, the end


class TokenChain:
    """A session. calls: how many tokens each was given. places: last -> the position at which the next is heard."""

    def __init__(self, bundle: Path, costs: Costs, places: Mapping[int | None, int]) -> None:
        opened = load(str(bundle), verify=False)
        vocabulary = opened.vocabulary()
        self._prompt, self._end = vocabulary.prompt, vocabulary.end
        self._costs, self._places = costs, places
        self._outputs = opened.manifest["programs"]["speech"]["methods"]["decode"]["outputs"]
        self.calls: list[int] = []

    def run(self, method: str, tokens: np.ndarray, *arrays: np.ndarray) -> list[np.ndarray]:
        count = len(tokens)
        self.calls.append(count)
        lengths = {"tokens": count, "positions": POSITIONS}
        logits, alignment, *caches = (
            np.zeros([lengths.get(size, size) for size in output["shape"]], np.float32) for output in self._outputs
        )
        logits -= NEVER
        for k, token in enumerate(tokens.tolist()):
            last = None if token in self._prompt else token
            for following, cost in self._costs[last].items():
                logits[k, self._end if following is None else following] = -cost
            alignment[:, k, self._places.get(last, 0)] = 1.0
        return [logits, alignment, *caches]


def chained(
    bundle: Path, costs: Costs, places: Mapping[int | None, int] | None = None
) -> tuple[Decoder, TokenChain, Encoded]:
    """The decoder, its session, and an utterance of 5 s."""
    chain = TokenChain(bundle, costs, places or {})
    return (
        Decoder(load(str(bundle), verify=False), chain, DecodingConfig()),
        chain,
        Encoded(Caches((), ()), POSITIONS, 5.0),
    )
