"""The streaming encoder on the device: an utterance is heard chunk by chunk, each sample once.

The program's method `stream` describes its own state in the manifest; nothing here knows the network. A call
brings a chunk's positions for good and those of its look-ahead for the moment: they come again.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

import numpy as np

from device_asr.decoding.cache import Caches
from device_asr.decoding.ctc import CtcSymbol, GreedyCtc
from device_asr.decoding.hypothesis import Encoded
from device_asr.runtime.session import Session

SAMPLE_RATE = 16_000
FEWEST = 2  # positions that `decode` takes


class StreamEncoder:
    """Feeds `stream`, keeps its state, gathers what the decoder attends to and the CTC head's scores.

    scores: (capacity, symbols) float32, of which the first `positions` are of this utterance, the first `settled` of
    them for good. samples: heard of it, those filled up by `flush` left out. last_symbol: the last one that the
    CTC head heard, no space: those may be heard in a pause. frames: positions of a chunk, of `chunk` samples.

    Args:
        method: the manifest's description of `stream`.
        session: runs it.
        capacity: most positions of an utterance; later ones are not gathered.
    """

    def __init__(self, method: Mapping[str, Any], session: Session, capacity: int) -> None:
        self._session = session
        self.chunk = int(method["inputs"][0]["shape"][1])
        states = set(method["state"])
        self._starts = [_start(item) for item in method["inputs"] if item["name"] in states]
        shapes = [item["shape"] for item in method["outputs"] if item["name"].startswith("cross_")]
        self._layers = len(shapes) // 2
        self._ahead = int(method.get("ahead", 0))
        self.frames = int(method["outputs"][0]["shape"][0]) - self._ahead
        self.position_s = self.chunk / self.frames / SAMPLE_RATE  # seconds of audio of one position
        self._keys = [np.zeros((*shape[:2], capacity), np.float32) for shape in shapes[: self._layers]]
        self._values = [np.zeros((shape[0], capacity, shape[2]), np.float32) for shape in shapes[self._layers :]]
        self._capacity = capacity
        self._delay = int(method["delay"])
        self.delay = self._delay / SAMPLE_RATE  # seconds by which a frame's audio lies before `frame * 20 ms`
        self.scores = np.zeros((capacity, int(method["outputs"][0]["shape"][1])), np.float32)
        self.reset()

    def reset(self) -> None:
        """Forgets the utterance."""
        self._state = [array.copy() for array in self._starts]
        self._pending = np.zeros(0, np.float32)
        self.samples = self._heard = 0
        self.positions = self.settled = 0
        self.chunks = 0
        self.last_symbol: CtcSymbol | None = None
        self._settled_symbol: CtcSymbol | None = None
        self._ctc = GreedyCtc()

    @property
    def waiting(self) -> int:
        """Samples that are no whole chunk yet."""
        return len(self._pending)

    def feed(self, pcm: np.ndarray) -> int:
        """Hears (n,) float32 at 16 kHz; the number of chunks that this completed."""
        self.samples += len(pcm)
        data = np.concatenate([self._pending, pcm]) if len(self._pending) else pcm
        whole = len(data) // self.chunk * self.chunk
        for at in range(0, whole, self.chunk):
            self._hear(np.ascontiguousarray(data[at : at + self.chunk], dtype=np.float32)[None])
        self._pending = data[whole:].copy()
        return whole // self.chunk

    def flush(self) -> None:
        """Hears what is left, filled up with silence."""
        if self.waiting:
            silence = np.zeros(self.chunk - self.waiting, np.float32)
            self.feed(silence)
            self.samples -= len(silence)

    def preview(self) -> None:
        """Hears what waits for a whole chunk, with silence behind it, for the moment: the whole chunk comes later."""
        chunk = np.pad(self._pending, (0, self.chunk - self.waiting))[None]
        scores = self._gather(self._session.run("stream", chunk, *self._state), self.waiting)
        self.last_symbol = _last(copy(self._ctc).feed(scores)) or self._settled_symbol

    def _hear(self, chunk: np.ndarray) -> None:
        outputs = self._session.run("stream", chunk, *self._state)
        self._state = outputs[-len(self._state) :]
        scores = self._gather(outputs, self.chunk)
        self.chunks += 1
        self.settled = min(max(0, self.chunks * self.frames - self._ahead), self._capacity)
        count = max(0, len(scores) - self._ahead)
        self._settled_symbol = _last(self._ctc.feed(scores[:count])) or self._settled_symbol
        self.last_symbol = _last(copy(self._ctc).feed(scores[count:])) or self._settled_symbol

    def _gather(self, outputs: list[np.ndarray], samples: int) -> np.ndarray:
        """Keeps what was heard with `samples` of one more chunk; its scores, without positions before the audio."""
        first = self.chunks * self.frames - self._ahead  # position of the outputs' first row; below 0 is no audio
        last = self.chunks * self.frames + samples * self.frames // self.chunk
        at, end = min(max(0, first), self._capacity), min(last, self._capacity)
        rows = slice(at - first, end - first)
        self.scores[at:end] = outputs[0][rows]
        for i in range(self._layers):
            self._keys[i][:, :, at:end] = outputs[1 + i][:, :, rows]
            self._values[i][:, at:end] = outputs[1 + self._layers + i][:, rows]
        self.positions, self._heard = end, self.chunks * self.chunk + samples
        return outputs[0][max(0, -first) : last - first]

    def encoded(self, samples: int | None = None, first: int = 0) -> Encoded | None:
        """The frames so far, or those of the first `samples`, as the decoder takes them; None: fewer than it takes.

        first: the position that it begins with; those before are left out.
        """
        heard = max(0, self._heard - self._delay)
        heard = heard if samples is None else min(heard, samples)
        n = min(self.positions, -(-(heard + self._delay) * self.frames // self.chunk))
        if n - first < FEWEST:
            return None
        cross = Caches(
            tuple(np.ascontiguousarray(keys[:, :, first:n]) for keys in self._keys),
            tuple(np.ascontiguousarray(values[:, first:n]) for values in self._values),
        )
        return Encoded(cross, n - first, heard / SAMPLE_RATE - first * self.chunk / self.frames / SAMPLE_RATE)


def _last(letters: list[CtcSymbol]) -> CtcSymbol | None:
    return next((letter for letter in reversed(letters) if letter.symbol != " "), None)


def _start(item: Mapping[str, Any]) -> np.ndarray:
    """A state tensor before any audio: `start` is its one value, or one for each row of the last axis but one."""
    array = np.zeros(item["shape"], item["dtype"])
    value = np.asarray(item["start"], item["dtype"])
    array[...] = value if value.ndim == 0 else value[:, None]
    return array
