"""Sentences whose word times are known: espeak-ng speaks them and says when each word begins and ends.

    python -m tests.support.espeak FOLDER

writes the clips and two manifests with word times, for `device-asr bench`: `espeak.jsonl`, 24 sentences of eight voices
at three speeds, and `espeak-joined.jsonl`, the same in threes with 0.1 to 0.4 s between them.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
import soundfile

from device_asr.audio.format import SAMPLE_RATE
from device_asr.metrics.word_times import KnownWord

VOICES = ("en-us", "en", "en-us+f2", "en-gb-x-rp", "en-gb-scotland", "en-us+m3", "en+f4", "en-029")
SPEEDS = (120, 150, 180)  # words a minute
GAPS = (0.1, 0.15, 0.25, 0.4)  # seconds between joined sentences
BEFORE, BEHIND = 0.4, 0.6  # seconds of silence
LEVEL, NOISE = 0.06, 0.001  # of speech and of noise, root mean square
# IEEE's phonetically balanced sentences ("Harvard sentences", 1969), lists 1 to 3
SENTENCES = (
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background.",
    "It's easy to tell the depth of a well.",
    "These days a chicken leg is a rare dish.",
    "Rice is often served in round bowls.",
    "The juice of lemons makes fine punch.",
    "The box was thrown beside the parked truck.",
    "The hogs were fed chopped corn and garbage.",
    "Four hours of steady work faced us.",
    "A large size in stockings is hard to sell.",
    "The boy was there when the sun rose.",
    "A rod is used to catch pink salmon.",
    "The source of the huge river is the clear spring.",
    "Kick the ball straight and follow through.",
    "Help the woman get back to her feet.",
    "A pot of tea helps to pass the evening.",
    "Smoky fires lack flame and heat.",
    "The soft cushion broke the man's fall.",
    "The salt breeze came across from the sea.",
    "The girl at the booth sold fifty bonds.",
    "The small pup gnawed a hole in the sock.",
    "The fish twisted and turned on the bent hook.",
    "Press the pants and sew a button on the vest.",
    "The swan dive was far short of perfect.",
)
_WORD, _PHONEME, _LAST = 1, 7, 0  # kinds of events, espeak_EVENT_TYPE
_SYNCHRONOUS, _PHONEMES, _RATE, _CHARACTER, _UTF8 = 2, 1, 1, 1, 1  # of speak_lib.h


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class Said:
    """Speech, (n,) float32 at 16 kHz, with its words."""

    pcm: np.ndarray
    words: tuple[KnownWord, ...]

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    def later(self, seconds: float) -> tuple[KnownWord, ...]:
        """The words, so many seconds later."""

        def moved(time: float | None) -> float | None:
            return None if time is None else round(time + seconds, 4)

        return tuple(replace(word, start=moved(word.start), end=moved(word.end)) for word in self.words)


def installed() -> bool:
    """Whether the library of espeak-ng is there."""
    return ctypes.util.find_library("espeak-ng") is not None


@functools.cache
def _library() -> tuple[Any, int]:
    library = ctypes.CDLL(ctypes.util.find_library("espeak-ng"))
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEMES)
    assert rate > 0, f"espeak-ng does not start: {rate}"
    return library, rate


def say(text: str, voice: str, words_per_minute: int) -> Said:
    """What espeak-ng makes of an English text without digits, from the first word to the end of the last.

    A word ends where the next one begins, or where a pause begins before that. Words that it speaks as one ("of the",
    now and then) have no times of their own.
    """
    library, rate = _library()
    assert library.espeak_SetVoiceByName(voice.encode()) == 0, f"espeak-ng has no voice {voice}"
    library.espeak_SetParameter(_RATE, words_per_minute, 0)
    parts: list[np.ndarray] = []
    begins: list[tuple[int, float]] = []  # the place in the text, from 1; seconds
    pauses: list[float] = []

    def take(wave: Any, count: int, events: Any) -> int:
        if wave and count:
            parts.append(np.ctypeslib.as_array(wave, (count,)).copy())
        for event in _until_last(events):
            if event.type == _WORD:
                begins.append((event.text_position, event.sample / rate))
            elif event.type == _PHONEME and event.id.string.startswith(b"_"):
                pauses.append(event.sample / rate)
        return 0

    callback = _Callback(take)
    library.espeak_SetSynthCallback(callback)
    data = text.encode()
    assert library.espeak_Synth(data, len(data) + 1, 0, _CHARACTER, 0, _UTF8, None, None) == 0
    divisor = math.gcd(rate, SAMPLE_RATE)
    wave = scipy.signal.resample_poly(np.concatenate(parts) / 32768, SAMPLE_RATE // divisor, rate // divisor)
    words = _timed(text, begins, pauses)
    end = max(word.end for word in words if word.end is not None)
    pcm = wave[: math.ceil(end * SAMPLE_RATE)].astype(np.float32)
    return Said(pcm * (LEVEL / np.sqrt(np.mean(pcm * pcm))), words)


def _until_last(events: Any) -> Iterator[_Event]:
    at = 0
    while events[at].type != _LAST:
        yield events[at]
        at += 1


def _timed(text: str, begins: list[tuple[int, float]], pauses: list[float]) -> tuple[KnownWord, ...]:
    spans = [(found.group(), found.start() + 1, found.end() + 1) for found in re.finditer(r"\S+", text)]
    starts = [next((time for at, time in begins if first <= at < behind), None) for _, first, behind in spans]
    words = []
    for k, (word, _, _) in enumerate(spans):
        start, following = starts[k], starts[k + 1 : k + 2]
        if start is None or following == [None]:  # spoken as one with the word before, or with the next
            words.append(KnownWord(word, start))
            continue
        ends = [time for time in [*following, *pauses] if time is not None and time > start]
        words.append(KnownWord(word, start, min(ends)))
    return tuple(words)


def joined(sentences: list[Said], gap: float, seed: int) -> Said:
    """Sentences with `gap` seconds between them, silence around them, and a little noise over all."""
    silence = np.zeros(round(gap * SAMPLE_RATE), np.float32)
    parts, words = [np.zeros(round(BEFORE * SAMPLE_RATE), np.float32)], []
    for sentence in sentences:
        words += sentence.later(sum(map(len, parts)) / SAMPLE_RATE)
        parts += [sentence.pcm, silence]
    pcm = np.concatenate([*parts[:-1], np.zeros(round(BEHIND * SAMPLE_RATE), np.float32)])
    return Said(pcm + np.random.default_rng(seed).normal(0, NOISE, len(pcm)).astype(np.float32), tuple(words))


def manifests(folder: Path) -> list[Path]:
    """Writes the clips and the two manifests, and gives the paths of the manifests."""
    said = [say(text, VOICES[k % 8], SPEEDS[k % 3]) for k, text in enumerate(SENTENCES)]
    threes = [said[k : k + 3] for k in range(0, len(said), 3)]
    return [
        _written(folder, "espeak", [joined([one], 0.0, k) for k, one in enumerate(said)]),
        _written(folder, "espeak-joined", [joined(three, GAPS[k % 4], k) for k, three in enumerate(threes)]),
    ]


def _written(folder: Path, name: str, clips: list[Said]) -> Path:
    (folder / name).mkdir(parents=True, exist_ok=True)
    lines = []
    for k, clip in enumerate(clips):
        audio = f"{name}/{k:02}.flac"
        soundfile.write(folder / audio, clip.pcm, SAMPLE_RATE)
        words = [{"text": word.text, "start": word.start, "end": word.end} for word in clip.words]
        entry = {"audio": audio, "text": clip.text, "duration": round(len(clip.pcm) / SAMPLE_RATE, 3), "words": words}
        lines.append(json.dumps(entry))
    path = folder / f"{name}.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    for written in manifests(Path(sys.argv[1])):
        sys.stdout.write(f"{written}\n")
