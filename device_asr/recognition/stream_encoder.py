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
from device_asr.bundle.method import Method
from device_asr.bundle.roles import CROSS_KEYS, CROSS_VALUES, CTC, PCM, nth, numbered
from device_asr.decoding.cache import Caches
from device_asr.decoding.ctc import CtcSymbol, GreedyCtc
from device_asr.decoding.hypothesis import Encoded
from device_asr.events import Seconds
from device_asr.runtime.session import Session

FEWEST = 2  # positions; `decode` takes no fewer


class StreamEncoder:
    """An `UtteranceEncoder` that runs `stream`, keeps its state, and gathers cross-attention inputs and CTC scores.

    emits: whether there is a CTC head; without one there are no scores and no symbols.
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
        self._stream = Method(session, "stream", method)
        self.chunk_samples = int(self._stream.inputs[PCM]["shape"][1])
        shapes = {role: tensor["shape"] for role, tensor in self._stream.outputs.items()}
        self._ahead = int(method["look_ahead"])
        self.chunk_positions = int(shapes[nth(CROSS_KEYS, 0)][2]) - self._ahead
        self.samples_per_position = self.chunk_samples // self.chunk_positions
        self.position_s: Seconds = self.samples_per_position / SAMPLE_RATE
        keys = [shapes[role] for role in numbered(CROSS_KEYS, shapes)]
        values = [shapes[role] for role in numbered(CROSS_VALUES, shapes)]
        self._cross = Caches(
            tuple(np.zeros((heads, width, capacity), np.float32) for heads, width, _ in keys),
            tuple(np.zeros((heads, capacity, width), np.float32) for heads, _, width in values),
        )
        self._capacity = capacity
        self._delay = int(method["delay"])
        self.delay: Seconds = self._delay / SAMPLE_RATE
        self.emits = CTC in shapes
        self.scores = np.zeros((capacity, int(shapes[CTC][1]) if self.emits else 0), np.float32)
        self._clear()

    def _clear(self) -> None:
        self._state = self._stream.state()
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
        scores = self._gather(self._stream({PCM: chunk, **self._state}), self.waiting)
        if self.emits:
            self.last_symbol = _last(copy(self._ctc).feed(scores)) or self._settled_symbol
        self.previewed = True

    def no_voice(self) -> bool:
        """Whether chunks were encoded and there is a CTC head, which emitted no symbol."""
        return self.emits and self.chunks > 0 and self.last_symbol is None

    def last_voice(self) -> Seconds | None:
        """Seconds from the utterance's beginning to the last symbol of the CTC head; None: there is none."""
        symbol = self.last_symbol
        return None if symbol is None else symbol.frame * self.samples_per_position / SAMPLE_RATE

    def _encode(self, chunk: np.ndarray) -> None:
        outputs = self._stream({PCM: chunk, **self._state})
        self._state = {role: outputs[role] for role in self._state}
        scores = self._gather(outputs, self.chunk_samples)
        self.chunks += 1
        self.settled = min(max(0, self.chunks * self.chunk_positions - self._ahead), self._capacity)
        if not self.emits:
            return
        count = max(0, len(scores) - self._ahead)
        self._settled_symbol = _last(self._ctc.feed(scores[:count])) or self._settled_symbol
        self.last_symbol = _last(copy(self._ctc).feed(scores[count:])) or self._settled_symbol

    def _gather(self, outputs: Mapping[str, np.ndarray], samples: int) -> np.ndarray:
        """Keeps the outputs of one more chunk with `samples` of audio; its scores, without positions before the audio.

        The outputs begin with the look-ahead of the chunk before, whose provisional rows they replace.
        """
        first = self.chunks * self.chunk_positions - self._ahead  # of the outputs' first row; below 0: no audio
        last = self.chunks * self.chunk_positions + samples * self.chunk_positions // self.chunk_samples
        at, end = min(max(0, first), self._capacity), min(last, self._capacity)
        rows = slice(at - first, end - first)
        self._cross.store(at, Caches.of(outputs, CROSS_KEYS, CROSS_VALUES).part(at - first, end - first))
        self.positions, self._encoded_samples = end, self.chunks * self.chunk_samples + samples
        if not self.emits:
            return self.scores[:0]
        self.scores[at:end] = outputs[CTC][rows]
        return outputs[CTC][max(0, -first) : last - first]

    def encoded(self, samples: int | None = None, first: int = 0, spoken: bool = False) -> Encoded | None:
        """The utterance so far, or its first `samples`, for the decoder; None: fewer positions than it takes.

        Args:
            first: positions before this one are left out. spoken: see `Encoded`.
        """
        within = max(0, self._encoded_samples - self._delay)
        within = within if samples is None else min(within, samples)
        n = min(self.positions, -(-(within + self._delay) * self.chunk_positions // self.chunk_samples))
        if n - first < FEWEST:
            return None
        cross = self._cross.part(first, n).contiguous()
        skipped = first * self.samples_per_position / SAMPLE_RATE
        return Encoded(cross, n - first, within / SAMPLE_RATE - skipped, spoken)


def _last(symbols: list[CtcSymbol]) -> CtcSymbol | None:
    return next((symbol for symbol in reversed(symbols) if symbol.symbol != " "), None)
