"""Endpointing: turns speech probabilities into utterances, by hysteresis, pre-roll, hang-over and longest utterance."""

from __future__ import annotations

from collections import deque
from copy import copy
from dataclasses import dataclass

import numpy as np

from device_asr.audio.format import STEP_MS
from device_asr.config import EndpointConfig
from device_asr.events import Seconds

SPARE: Seconds = 1.0  # an utterance may be a little longer than the longest: frames are whole, and so are chunks
CUT_SEARCH_S = 6.0  # a cut is sought in the last seconds of an utterance that grew too long
CUT_SMOOTH = 5  # frames (160 ms): a dip must last to be a pause between words


def longest_utterance(config: EndpointConfig) -> Seconds:
    """Seconds of audio that an utterance has at most, pre-roll included."""
    return config.longest_utterance_s + config.preroll_ms / 1000 + SPARE


@dataclass(frozen=True, slots=True)
class Opened:
    """Speech began: `onset` and `start` (onset less pre-roll) in frames."""

    onset: int
    start: int


@dataclass(frozen=True, slots=True)
class Closed:
    """An utterance ends before frame `end`; `speech_end` is the frame after its last speech.

    `forced`: it grew too long, and the next utterance starts at `end` at once.
    """

    end: int
    speech_end: int
    forced: bool = False


class Endpointer:
    """Opens and closes utterances, given a probability and a level per 32 ms frame; frames are counted from 0."""

    def __init__(self, config: EndpointConfig) -> None:
        self._config = config
        self._hangover = max(1, round(config.hangover_ms / STEP_MS))
        self._preroll = -(-config.preroll_ms // STEP_MS)
        self._min_speech = max(1, -(-config.min_speech_ms // STEP_MS))
        self._longest = int(config.longest_utterance_s * 1000 / STEP_MS)
        self.frame = 0
        self._history: deque[float] = deque(maxlen=int(CUT_SEARCH_S * 1000 / STEP_MS))
        self._floor = 0  # pre-roll does not reach into the previous utterance
        self._clear()

    def _clear(self) -> None:
        self.open = False
        self._burst: int | None = None  # where a run of speech that may open an utterance began
        self._speech = 0  # frames of speech in that run
        self._start = 0
        self._last_speech = 0

    def reset(self) -> None:
        """Ends any utterance; counting goes on."""
        self._clear()
        self._history.clear()
        self._floor = self.frame

    def copied(self) -> Endpointer:
        """Another one in the same state."""
        other = copy(self)
        other._history = self._history.copy()
        return other

    @property
    def earliest(self) -> int:
        """The first frame of the open utterance, or the first that the next one may contain."""
        if self.open:
            return self._start
        return max(self._floor, (self.frame if self._burst is None else self._burst) - self._preroll)

    @property
    def speech_end(self) -> int:
        """The frame after the last speech of the open utterance."""
        return self._last_speech + 1

    @property
    def pause(self) -> int:
        """Frames since the last speech of the open utterance."""
        return self.frame - self.speech_end

    def spoke(self, frame: int) -> None:
        """Takes other evidence than the detector's that speech went on until `frame`; the hang-over starts there."""
        if self.open:
            self._last_speech = max(self._last_speech, min(frame, self.frame - 1))

    def feed(self, probability: float, level: float) -> Opened | Closed | None:
        """Takes the next frame and returns what it changes; `level` is its root mean square."""
        config, now = self._config, self.frame
        self.frame += 1
        # the quietest point is where neither the detector nor the level says speech
        self._history.append(probability + 20.0 * level)
        if not self.open:
            return self._seek_onset(probability, now)
        if probability >= config.off:
            self._last_speech = now
        if now - self._last_speech >= self._hangover:
            closed = Closed(now + 1, self._last_speech + 1)
            self._clear()
            self._floor = closed.end
            return closed
        if now + 1 - self._start >= self._longest:
            return self._cut(now)
        return None

    def _seek_onset(self, probability: float, now: int) -> Opened | None:
        config = self._config
        if probability >= config.on:
            self._burst = now if self._burst is None else self._burst
            self._speech += 1
        elif probability < config.off:
            self._burst, self._speech = None, 0
        if self._burst is None or self._speech < self._min_speech:
            return None
        onset = self._burst
        self.open = True
        self._start = max(self._floor, onset - self._preroll)
        self._last_speech = now
        return Opened(onset, self._start)

    def _cut(self, now: int) -> Closed:
        """Ends the utterance at the quietest point of its last seconds; the rest belongs to the next utterance."""
        earliest = self._start + self._longest // 2
        recent = np.asarray(self._history)[-(now + 1 - earliest) :]
        dips = np.convolve(recent, np.full(CUT_SMOOTH, 1 / CUT_SMOOTH), mode="valid")
        end = now + 1 - len(recent) + int(np.argmin(dips)) + CUT_SMOOTH // 2
        self._start = self._floor = end
        return Closed(end, end, forced=True)
