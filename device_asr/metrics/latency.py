"""The definitions of latency, in this one place, as accumulators that take events.

* **First partial**: onset of speech -> first non-empty Partial of the utterance handed to the screen.
  An utterance whose first text is its Final has none.
* **Word emission**: end of the word in the audio (`Word.end` of the Final) -> the time after which that
  word no longer changes. A word keeps its identity while it stays in the text, even where words before
  it change (texts are aligned); case and punctuation do not count. It may be below zero: the end of a
  word is an estimate, and a word is often clear before its end.
* **Finalization**: end of the last word -> Final text, hang-over included; without hang-over: from
  when the Final was due (`Final.time`) to the Final text.
* **Flicker**: words shown and later changed or taken back / final words; by words alone, and counting
  a change of case or punctuation too (`strict`).
* **RTF**: seconds of computation / seconds of audio.

Two clocks. *Wall clock*: every event comes with the time at which it was handed over, and a mapping gives
the time at which a sample existed; waiting and buffering are included. *Audio clock*: without such times;
word emission leaves computation out (it is the delay of the policy), first partial and finalization add the
event's own `compute`, as if nothing else had to wait.

    meter = LatencyMeter(session.wall_time)      # wall clock; LatencyMeter() for the audio clock
    meter.add(delivery.event, delivery.wall)
    meter.first_partial.p50, meter.word_emission.p95, meter.finalization.last, meter.flicker
"""

from __future__ import annotations

import string
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from difflib import SequenceMatcher

import numpy as np

from device_asr.events import Event, Final, Partial, Seconds, SpeechEnded, SpeechStarted

KEEP = 10_000  # values a series keeps for an interface that runs all day: an hour of words
_EDGES = string.punctuation + "“”‘’…–—"


def percentile(values: Iterable[float], percent: float) -> float | None:
    """The value under which `percent` of `values` lie, interpolated linearly; None where there are none."""
    values = list(values)
    return float(np.percentile(values, percent)) if values else None


def rtf(compute: Seconds, audio: Seconds) -> float | None:
    """Real-time factor: seconds of computation per second of audio; None before any audio."""
    return compute / audio if audio > 0 else None


class Series:
    """Durations in seconds: the last, p50, p95, how many.

    Args:
        keep: only so many of the latest count for the percentiles; None: all.
    """

    def __init__(self, keep: int | None = KEEP) -> None:
        self.values: deque[Seconds] = deque(maxlen=keep)
        self.count = 0  # ever added

    def add(self, value: Seconds) -> None:
        """Appends one duration."""
        self.values.append(value)
        self.count += 1

    @property
    def last(self) -> Seconds | None:
        """The latest; None where there is none (so are the percentiles)."""
        return self.values[-1] if self.values else None

    @property
    def p50(self) -> Seconds | None:
        """The median."""
        return percentile(self.values, 50)

    @property
    def p95(self) -> Seconds | None:
        """The value that 19 of 20 stay below."""
        return percentile(self.values, 95)


class LatencyMeter:
    """Accumulates the definitions above over events in order; not thread-safe.

    Args:
        wall: maps seconds of the audio clock to the clock of `add`'s `at` (`LiveSession.wall_time`);
            None: audio clock, where `add` is called without `at`.
        keep: see `Series`.

    Attributes:
        first_partial, word_emission, finalization, finalization_no_hangover: a `Series` each.
        final_compute, partial_compute: a `Series` each of the events' own seconds of computation.
        utterances: utterances that began; finals, final_words: of them, what became text.
        changed_words, changed_strict: words shown and later changed, see flicker.
    """

    def __init__(self, wall: Callable[[Seconds], Seconds] | None = None, keep: int | None = KEEP) -> None:
        self._wall = wall
        self.first_partial = Series(keep)
        self.word_emission = Series(keep)
        self.finalization = Series(keep)
        self.finalization_no_hangover = Series(keep)
        self.final_compute = Series(keep)
        self.partial_compute = Series(keep)
        self.utterances = self.finals = self.final_words = 0
        self.changed_words = self.changed_strict = 0
        self._shown: list[tuple[Seconds, list[str]]] = []  # texts of this utterance that were on the screen

    def add(self, event: Event, at: Seconds | None = None, *, cut_short: bool = False) -> None:
        """Takes one event.

        Args:
            at: when it was handed to the screen, on the clock of `wall`; left out on the audio clock.
            cut_short: the utterance was ended by the end of the audio (`Recognizer.finish`), so that
                there was no hang-over: its Final does not count in `finalization`.

        Raises:
            ValueError: `at` without `wall`, or the other way round, for a Partial or Final.
        """
        if isinstance(event, SpeechStarted):
            self.utterances += 1
            self._shown = []
        elif isinstance(event, Partial):
            self._partial(event, at)
        elif isinstance(event, Final):
            self._final(event, at, cut_short)
        elif isinstance(event, SpeechEnded):
            self._replace([])  # after a Final nothing is left; else what was shown is taken back
            self._shown = []

    @property
    def flicker(self) -> float | None:
        """Words shown and later changed per final word, case and punctuation aside."""
        return self.changed_words / self.final_words if self.final_words else None

    @property
    def flicker_strict(self) -> float | None:
        """As `flicker`, where a change of case or punctuation is a change."""
        return self.changed_strict / self.final_words if self.final_words else None

    def _times(self, event: Partial | Final, at: Seconds | None) -> tuple[Seconds, Seconds]:
        """The time when `event` was on the screen: with its computation, and as word emission counts it."""
        if (at is None) != (self._wall is None):
            raise ValueError("wanted `at` together with a mapping `wall`, or neither (audio clock)")
        return (event.time + event.compute, event.time) if at is None else (at, at)

    def _since(self, audio: Seconds, now: Seconds) -> Seconds:
        return now - (audio if self._wall is None else self._wall(audio))

    def _partial(self, event: Partial, at: Seconds | None) -> None:
        shown, settled = self._times(event, at)
        self.partial_compute.add(event.compute)
        words = event.text.split()
        if words and not any(text for _, text in self._shown):
            self.first_partial.add(self._since(event.start, shown))
        self._replace(words)
        self._shown.append((settled, words))

    def _final(self, event: Final, at: Seconds | None, cut_short: bool) -> None:
        shown, settled = self._times(event, at)
        words = [word.text for word in event.words] or event.text.split()
        self._replace(words)
        self.finals += 1
        self.final_words += len(words)
        self.final_compute.add(event.compute)
        self.finalization_no_hangover.add(self._since(event.time, shown))
        if not cut_short:
            self.finalization.add(self._since(event.words[-1].end if event.words else event.end, shown))
        if event.words:
            times = stable_since([*self._shown, (settled, words)])
            for word, time in zip(event.words, times, strict=True):
                self.word_emission.add(self._since(word.end, time))
        self._shown = []

    def _replace(self, words: Sequence[str]) -> None:
        if not self._shown:
            return
        before = self._shown[-1][1]
        self.changed_words += len(before) - len(_kept(_bare(before), _bare(words)))
        self.changed_strict += len(before) - len(_kept(before, words))


def stable_since(texts: Sequence[tuple[Seconds, Sequence[str]]]) -> list[Seconds]:
    """The time of the first of `texts` (time, words) since which each word of the last one has stayed in them."""
    time, last = texts[-1]
    bare = _bare(last)
    since = [time] * len(last)
    alive = set(range(len(last)))
    for time, words in reversed(texts[:-1]):
        alive &= _kept(bare, _bare(words))
        if not alive:
            break
        for index in alive:
            since[index] = time
    return since


def _bare(words: Iterable[str]) -> list[str]:
    return [word.strip(_EDGES).casefold() or word for word in words]


def _kept(before: Sequence[str], after: Sequence[str]) -> set[int]:
    """Indices of the words of `before` that `after` still has, in the same order."""
    same = 0
    while same < min(len(before), len(after)) and before[same] == after[same]:
        same += 1  # the common prefix, so that a repeated word is not matched to its later twin
    kept = set(range(same))
    matcher = SequenceMatcher(None, before[same:], after[same:], autojunk=False)
    for block in matcher.get_matching_blocks():
        kept.update(range(same + block.a, same + block.a + block.size))
    return kept
