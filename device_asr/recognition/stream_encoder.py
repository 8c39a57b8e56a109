"""The streaming encoder on the device: an utterance is encoded chunk by chunk, each sample once.

The program's method `stream` describes its own state in the manifest; nothing here knows the network. A call
returns the positions of a chunk in their final form and those of its look-ahead provisionally: the next call returns
them again.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

import numpy as np

from device_asr.audio.format import SAMPLE_RATE
from device_asr.decoding.cache import Caches
from device_asr.decoding.ctc import CtcSymbol, GreedyCtc
from device_asr.decoding.hypothesis import Encoded
from device_asr.events import Seconds
from device_asr.runtime.session import Session

FEWEST = 2  # positions; `decode` takes no fewer


class StreamEncoder:
    """An `UtteranceEncoder` that runs `stream`, keeps its state, and gathers cross-attention inputs and CTC scores.

    scores: (capacity, symbols) float32; the first `positions` rows belong to this utterance, and the first `settled`
        of them will not change.
    samples: of the utterance so far, without the silence that `end` adds.
    chunk_samples, chunk_positions: the length of a chunk. samples_per_position: the quotient of the two; position_s:
        the same in seconds.
    chunks: encoded so far. completed: chunks that the last `feed` completed.
    previewed: whether the waiting samples were encoded by `preview` and no chunk was completed since.
    last_symbol: the last symbol that the CTC head emitted, spaces left out: they may be emitted in a pause.
    delay: seconds by which a position's audio lies before `position * samples_per_position`.

    Args:
        method: the manifest's description of `stream`.
        session: runs it.
        capacity: most positions of an utterance; later ones are not gathered.
    """

    def __init__(self, method: Mapping[str, Any], session: Session, capacity: int) -> None:
        self._session = session
        self.chunk_samples = int(method["inputs"][0]["shape"][1])
        states = set(method["state"])
        self._starts = [_start(item) for item in method["inputs"] if item["name"] in states]
        shapes = [item["shape"] for item in method["outputs"] if item["name"].startswith("cross_")]
        self._layers = len(shapes) // 2
        self._ahead = int(method.get("ahead", 0))
        self.chunk_positions = int(method["outputs"][0]["shape"][0]) - self._ahead
        self.samples_per_position = self.chunk_samples // self.chunk_positions
        self.position_s: Seconds = self.samples_per_position / SAMPLE_RATE
        self._keys = [np.zeros((*shape[:2], capacity), np.float32) for shape in shapes[: self._layers]]
        self._values = [np.zeros((shape[0], capacity, shape[2]), np.float32) for shape in shapes[self._layers :]]
        self._capacity = capacity
        self._delay = int(method["delay"])
        self.delay: Seconds = self._delay / SAMPLE_RATE
        self.scores = np.zeros((capacity, int(method["outputs"][0]["shape"][1])), np.float32)
        self._clear()

    def _clear(self) -> None:
        self._state = [array.copy() for array in self._starts]
        self._pending = np.zeros(0, np.float32)
        self.samples = self._encoded_samples = 0
        self.positions = self.settled = 0
        self.chunks = self.completed = 0
        self.previewed = False
        self.last_symbol: CtcSymbol | None = None
        self._settled_symbol: CtcSymbol | None = None
        self._ctc = GreedyCtc()

    def begin(self, audio: np.ndarray) -> None:
        """See `UtteranceEncoder.begin`."""
        self._clear()
        self.feed(audio)

    @property
    def waiting(self) -> int:
        """Samples that wait for their chunk to be complete."""
        return len(self._pending)

    def feed(self, frame: np.ndarray) -> None:
        """See `UtteranceEncoder.feed`."""
        self.samples += len(frame)
        data = np.concatenate([self._pending, frame]) if len(self._pending) else frame
        whole = len(data) // self.chunk_samples * self.chunk_samples
        for at in range(0, whole, self.chunk_samples):
            self._encode(np.ascontiguousarray(data[at : at + self.chunk_samples], dtype=np.float32)[None])
        self._pending = data[whole:].copy()
        self.completed = whole // self.chunk_samples
        self.previewed = self.previewed and not self.completed

    def end(self) -> None:
        """Encodes the waiting samples, with silence behind them up to a whole chunk."""
        if self.waiting:
            silence = np.zeros(self.chunk_samples - self.waiting, np.float32)
            self.feed(silence)
            self.samples -= len(silence)

    def preview(self) -> None:
        """Encodes the waiting samples provisionally, with silence behind them; their whole chunk comes later."""
        chunk = np.pad(self._pending, (0, self.chunk_samples - self.waiting))[None]
        scores = self._gather(self._session.run("stream", chunk, *self._state), self.waiting)
        self.last_symbol = _last(copy(self._ctc).feed(scores)) or self._settled_symbol
        self.previewed = True

    def no_voice(self) -> bool:
        """Whether chunks were encoded and the CTC head emitted no symbol."""
        return self.chunks > 0 and self.last_symbol is None

    def last_voice(self) -> Seconds | None:
        """Seconds from the utterance's beginning to the last symbol of the CTC head; None: there is none."""
        symbol = self.last_symbol
        return None if symbol is None else symbol.frame * self.samples_per_position / SAMPLE_RATE

    def _encode(self, chunk: np.ndarray) -> None:
        outputs = self._session.run("stream", chunk, *self._state)
        self._state = outputs[-len(self._state) :]
        scores = self._gather(outputs, self.chunk_samples)
        self.chunks += 1
        self.settled = min(max(0, self.chunks * self.chunk_positions - self._ahead), self._capacity)
        count = max(0, len(scores) - self._ahead)
        self._settled_symbol = _last(self._ctc.feed(scores[:count])) or self._settled_symbol
        self.last_symbol = _last(copy(self._ctc).feed(scores[count:])) or self._settled_symbol

    def _gather(self, outputs: list[np.ndarray], samples: int) -> np.ndarray:
        """Keeps the outputs of one more chunk with `samples` of audio; its scores, without positions before the audio.

        The outputs begin with the look-ahead of the chunk before, whose provisional rows they replace.
        """
        first = self.chunks * self.chunk_positions - self._ahead  # of the outputs' first row; below 0: no audio
        last = self.chunks * self.chunk_positions + samples * self.chunk_positions // self.chunk_samples
        at, end = min(max(0, first), self._capacity), min(last, self._capacity)
        rows = slice(at - first, end - first)
        self.scores[at:end] = outputs[0][rows]
        for i in range(self._layers):
            self._keys[i][:, :, at:end] = outputs[1 + i][:, :, rows]
            self._values[i][:, at:end] = outputs[1 + self._layers + i][:, rows]
        self.positions, self._encoded_samples = end, self.chunks * self.chunk_samples + samples
        return outputs[0][max(0, -first) : last - first]

    def encoded(self, samples: int | None = None, first: int = 0) -> Encoded | None:
        """The utterance so far, or its first `samples`, for the decoder; None: fewer positions than it takes.

        Args:
            first: positions before this one are left out.
        """
        within = max(0, self._encoded_samples - self._delay)
        within = within if samples is None else min(within, samples)
        n = min(self.positions, -(-(within + self._delay) * self.chunk_positions // self.chunk_samples))
        if n - first < FEWEST:
            return None
        cross = Caches(
            tuple(np.ascontiguousarray(keys[:, :, first:n]) for keys in self._keys),
            tuple(np.ascontiguousarray(values[:, first:n]) for values in self._values),
        )
        skipped = first * self.samples_per_position / SAMPLE_RATE
        return Encoded(cross, n - first, within / SAMPLE_RATE - skipped)


def _last(symbols: list[CtcSymbol]) -> CtcSymbol | None:
    return next((symbol for symbol in reversed(symbols) if symbol.symbol != " "), None)


def _start(item: Mapping[str, Any]) -> np.ndarray:
    """A state tensor before any audio: `start` is its one value, or one for each row of the last axis but one."""
    array = np.zeros(item["shape"], item["dtype"])
    value = np.asarray(item["start"], item["dtype"])
    array[...] = value if value.ndim == 0 else value[:, None]
    return array
