"""The teacher's text of a clip, with its best tokens at every step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Label:
    """The teacher's text of a clip.

    tokens: (n,) text ids, without prompt and end. best: (n + 1, BEST) int32 ids and
    logprobs: (n + 1, BEST) float16, the distributions that chose the tokens and the end.
    ended: whether the end token came before the length limit.
    """

    tokens: np.ndarray
    best: np.ndarray
    logprobs: np.ndarray
    ended: bool
