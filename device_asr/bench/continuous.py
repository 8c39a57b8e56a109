"""Measures speech without a pause: what partials cost as the utterance goes on, and whether memory grows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import psutil

from device_asr.audio.format import SAMPLE_RATE, STEP
from device_asr.bench.memory import Use, fit, long_run, use
from device_asr.bench.run import read_audio
from device_asr.bench.timed import TimedRecognizer
from device_asr.config import Config
from device_asr.errors import DeviceAsrError
from device_asr.events import Final, Seconds
from device_asr.metrics.clips import Clip

QUIET_DB = -30.0  # a clip's edges below its loudest frame by more are cut off
HANGOVER_MS = 5000  # the longest there is: pauses within clips end no utterance, the longest utterance does
WARM_UP = 0.2  # share of the time before the slope of memory: first buffers


@dataclass(frozen=True, slots=True)
class Mark:
    """The state after `at` seconds of audio.

    partials, stream: seconds spent on partials so far, and in the method `stream`, which is a part of those.
    use: of the process. words: of the finals so far.
    """

    at: Seconds
    partials: Seconds
    stream: Seconds
    use: Use
    words: int


def without_pauses(config: Config) -> Config:
    """The settings with a hang-over so long that utterances end by their length alone."""
    return replace(config, endpoint=replace(config.endpoint, hangover_ms=HANGOVER_MS))


def trimmed(pcm: np.ndarray) -> np.ndarray:
    """A clip without its quiet edges, in whole frames."""
    frames = pcm[: len(pcm) // STEP * STEP].reshape(-1, STEP)
    level = np.sqrt(np.mean(frames * frames, axis=1))
    loud = np.flatnonzero(level > 10 ** (QUIET_DB / 20) * level.max(initial=0.0))
    return frames[loud[0] : loud[-1] + 1].reshape(-1) if len(loud) else pcm[:0]


def joined(clips: Sequence[Clip], seconds: Seconds) -> Iterator[np.ndarray]:
    """The clips again and again without their quiet edges, (n,) float32, `seconds` together.

    Raises:
        AudioError: one cannot be read. DeviceAsrError: there is nothing in them.
    """
    missing, pass_began = round(seconds * SAMPLE_RATE), 0
    for number, clip in enumerate(itertools.cycle(clips)):
        if missing <= 0:
            return
        if number % len(clips) == 0:
            if number and missing == pass_began:
                break
            pass_began = missing
        pcm = trimmed(read_audio(clip.audio))[:missing]
        yield pcm
        missing -= len(pcm)
    raise DeviceAsrError("The clips are silent; wanted recordings of speech.")


def feed(timed: TimedRecognizer, clips: Sequence[Clip], seconds: Seconds, every: Seconds = 1.0) -> Iterator[Mark]:
    """Feeds the joined clips in chunks of 32 ms; a mark after each `every` seconds of audio."""
    process = psutil.Process()
    rest, fed, words, due = np.zeros(0, np.float32), 0, 0, every
    for piece in itertools.chain(joined(clips, seconds), [None]):
        audio = rest if piece is None else np.concatenate([rest, piece])
        whole = len(audio) if piece is None else len(audio) // STEP * STEP
        for at in range(0, whole, STEP):
            chunk = audio[at : at + STEP]
            for event in timed.recognizer.feed(chunk):
                words += len(event.text.split()) if isinstance(event, Final) else 0
            fed += len(chunk)
            if fed / SAMPLE_RATE >= due:
                yield Mark(due, timed.partial_seconds, timed.stream_seconds, use(process), words)
                due += every
        rest = audio[whole:]
    timed.recognizer.finish()


def cost(marks: Sequence[Mark], edges: Sequence[Seconds]) -> list[dict[str, Any]]:
    """Seconds of computation a second of audio between every two of `edges`, the first being 0.

    Returns:
        tables of from, to, partials, stream.
    """
    found = []
    for start, end in itertools.pairwise((0.0, *edges)):
        within = [mark for mark in marks if start < mark.at <= end]
        before = next((mark for mark in reversed(marks) if mark.at <= start), None)
        if not within or within[-1].at < end:
            continue
        spent = {
            name: getattr(within[-1], name) - (getattr(before, name) if before else 0.0)
            for name in ("partials", "stream")
        }
        found.append({"from": start, "to": end, **{name: value / (end - start) for name, value in spent.items()}})
    return found


def growth(marks: Sequence[Mark]) -> dict[str, Any]:
    """Memory after the warm-up and how much more it is for an hour of audio; the rest as `long_run`.

    Raises:
        DeviceAsrError: too few marks to say anything.
    """
    kept = [mark for mark in marks if mark.at > WARM_UP * marks[-1].at] if marks else []
    if len(kept) < 3:
        raise DeviceAsrError("Too little audio to see memory grow; give it more --minutes.")
    times, uses = [mark.at for mark in kept], [mark.use for mark in kept]
    memory = [one.memory for one in uses]
    line = fit(times, memory)
    return {
        "memory": {
            "first_bytes": memory[0],
            "last_bytes": memory[-1],
            "max_bytes": max(memory),
            "slope_bytes_per_hour": 3600 * line.slope,
            "slope_error_bytes_per_hour": 3600 * line.error,
        },
        **long_run(times, uses),
    }
