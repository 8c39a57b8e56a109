"""The streaming encoder on the device: a phrase is heard chunk by chunk, each chunk once.

The program's method `stream` describes its own state in the manifest; nothing here knows the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from device_asr.ctc import GreedyCtc, Letter
from device_asr.decoder import Encoded

SAMPLE_RATE = 16_000
FEWEST = 2  # positions that `decode` takes


class StreamEncoder:
    """Feeds `stream`, keeps its state, gathers what the decoder attends to and the CTC head's scores.

    scores: (capacity, symbols) float32, of which the first `positions` are of this phrase. samples: heard of it,
    those filled up by `flush` left out.

    Args:
        method: the manifest's description of `stream`.
        session: runs it.
        capacity: most positions of a phrase; later ones are not gathered.
    """

    def __init__(self, method: Mapping[str, Any], session: Any, capacity: int) -> None:
        self._session = session
        self.chunk = int(method["inputs"][0]["shape"][1])
        states = set(method["state"])
        self._starts = [_start(item) for item in method["inputs"] if item["name"] in states]
        shapes = [item["shape"] for item in method["outputs"] if item["name"].startswith("cross_")]
        self._layers = len(shapes) // 2
        self._frames = int(method["outputs"][0]["shape"][0])
        self._keys = [np.zeros((*shape[:2], capacity), np.float32) for shape in shapes[: self._layers]]
        self._values = [np.zeros((shape[0], capacity, shape[2]), np.float32) for shape in shapes[self._layers :]]
        self._capacity = capacity
        self._delay = int(method["delay"])
        self.delay = self._delay / SAMPLE_RATE  # seconds by which a frame's sound lies before `frame * 20 ms`
        self.scores = np.zeros((capacity, int(method["outputs"][0]["shape"][1])), np.float32)
        self.reset()

    def reset(self) -> None:
        """Forgets the phrase."""
        self._state = [array.copy() for array in self._starts]
        self._pending = np.zeros(0, np.float32)
        self.samples = 0
        self.positions = 0
        self.chunks = 0
        self.letters: list[Letter] = []
        self.last_letter: Letter | None = None  # a space is none: it may be heard in a pause
        self._ctc = GreedyCtc()

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
        if len(self._pending):
            silence = np.zeros(self.chunk - len(self._pending), np.float32)
            self.feed(silence)
            self.samples -= len(silence)

    def _hear(self, chunk: np.ndarray) -> None:
        outputs = self._session.run("stream", chunk, *self._state)
        count, at = len(self._state), self.positions
        # copies: the program writes its next outputs where these lie
        self._state = [output.copy() for output in outputs[-count:]]
        letters = self._ctc.feed(outputs[0])
        self.letters += letters
        self.last_letter = next((letter for letter in reversed(letters) if letter.symbol != " "), self.last_letter)
        room = min(self._frames, self._capacity - at)
        self.scores[at : at + room] = outputs[0][:room]
        for i in range(self._layers):
            self._keys[i][:, :, at : at + room] = outputs[1 + i][:, :, :room]
            self._values[i][:, at : at + room] = outputs[1 + self._layers + i][:, :room]
        self.positions = at + room
        self.chunks += 1

    def encoded(self, samples: int | None = None) -> Encoded | None:
        """The frames so far, or those of the first `samples`, as the decoder takes them; None: fewer than it takes."""
        heard = max(0, self.chunks * self.chunk - self._delay)
        heard = heard if samples is None else min(heard, samples)
        n = min(self.positions, -(-(heard + self._delay) * self._frames // self.chunk))
        if n < FEWEST:
            return None
        cross = (*(np.ascontiguousarray(keys[:, :, :n]) for keys in self._keys),
                 *(np.ascontiguousarray(values[:, :n]) for values in self._values))
        return Encoded(cross, n, heard / SAMPLE_RATE)


def _start(item: Mapping[str, Any]) -> np.ndarray:
    """A state tensor before any sound: `start` is its one value, or one for each row of the last axis but one."""
    array = np.zeros(item["shape"], item["dtype"])
    value = np.asarray(item["start"], item["dtype"])
    array[...] = value if value.ndim == 0 else value[:, None]
    return array
