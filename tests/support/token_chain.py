"""A decoder whose next token depends on the last one alone, so that every text's probability is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from device_asr.bundle.bundle import load
from device_asr.config import DecodingConfig
from device_asr.decoding.decoder import Decoder
from device_asr.decoding.hypothesis import Encoded

NEVER = 100.0  # nats
POSITIONS = 50

Costs = Mapping[int | None, Mapping[int | None, float]]  # last -> next -> nats; None: the beginning, the end


class TokenChain:
    """A session whose `decode` gives the log-probabilities of a chain.

    calls: the number of tokens of each call. encoded: samples of each call of `encode`.
    places: last -> the position that the next token attends to.
    """

    def __init__(self, bundle: Path, costs: Costs, places: Mapping[int | None, int]) -> None:
        opened = load(str(bundle), verify=False)
        vocabulary = opened.vocabulary()
        self._prompt, self._end = vocabulary.prompt, vocabulary.end
        self._costs, self._places = costs, places
        self._methods = opened.manifest["programs"]["speech"]["methods"]
        self.calls: list[int] = []
        self.encoded: list[int] = []

    def run(self, method: str, *arrays: np.ndarray) -> list[np.ndarray]:
        tokens = arrays[0]
        lengths = {"tokens": len(tokens), "positions": POSITIONS}
        outputs = {
            output["role"]: np.zeros([lengths.get(size, size) for size in output["shape"]], np.float32)
            for output in self._methods[method]["outputs"]
        }
        if method == "encode":
            self.encoded.append(tokens.size)
            return list(outputs.values())
        self.calls.append(len(tokens))
        outputs["logits"] -= NEVER
        for k, token in enumerate(tokens.tolist()):
            last = None if token in self._prompt else token
            for following, cost in self._costs[last].items():
                outputs["logits"][k, self._end if following is None else following] = -cost
            outputs["alignment"][:, k, self._places.get(last, 0)] = 1.0
        return list(outputs.values())


def chained(
    bundle: Path, costs: Costs, places: Mapping[int | None, int] | None = None
) -> tuple[Decoder, TokenChain, Encoded]:
    """The decoder, its session, and an utterance of 5 s."""
    opened = load(str(bundle), verify=False)
    chain = TokenChain(bundle, costs, places or {})
    decoder = Decoder(opened, chain, DecodingConfig())
    return decoder, chain, replace(decoder.encode(np.zeros(0, np.float32)), positions=POSITIONS, seconds=5.0)
