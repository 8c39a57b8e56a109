"""A stand-in recognizer whose events are given beforehand, and silent clips for it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import soundfile

from device_asr.audio.format import SAMPLE_RATE
from device_asr.events import Event, Final, Partial, SpeechEnded, SpeechStarted, Word


def utterance(*words: tuple[str, float], at: float, compute: float = 0.0) -> list[Event]:
    """An utterance from 0.5 s: one partial of the first word at 1.0 s, the Final at `at`."""
    spoken = tuple(Word(text, end - 0.2, end, 0.9) for text, end in words)
    return [
        SpeechStarted(0, 0.5),
        Partial(0, words[0][0], "", 0.5, 1.0, 1.0, compute=compute / 4),
        Final(0, " ".join(text for text, _ in words), 0.5, words[-1][1], at, spoken, 0.9, compute),
        SpeechEnded(0, words[-1][1]),
    ]


class Scripted:
    """A stand-in recognizer: each audio's events come when as much was fed, the rest with `finish`."""

    speech_probability = 0.0
    partial_interval: float | None = 0.48

    def __init__(self, *scripts: list[Event], cost: float = 0.0) -> None:
        self.time, self._scripts, self._cost = 0.0, [list(script) for script in scripts], cost
        self.chunks: list[int] = []

    def feed(self, pcm: np.ndarray, *, backlog: float = 0.0) -> list[Event]:
        self.chunks.append(len(pcm))
        self.time += len(pcm) / SAMPLE_RATE
        if self._cost:
            time.sleep(self._cost)
        due, script = [], self._scripts[0]
        while script and script[0].time <= self.time:
            due.append(script.pop(0))
        return due

    def gap(self, lost: float, reason: str = "overflow") -> list[Event]:
        return []

    def finish(self) -> list[Event]:
        self.time = 0.0
        return self._scripts.pop(0)


def corpus(folder: Path, *texts: str | None, seconds: float = 2.0) -> Path:
    """A manifest of silent clips with `texts` as their references."""
    lines = []
    for number, text in enumerate(texts):
        soundfile.write(folder / f"{number}.wav", np.zeros(int(seconds * SAMPLE_RATE)), SAMPLE_RATE)
        lines.append(json.dumps({"audio": f"{number}.wav", "text": text, "duration": seconds}))
    path = folder / "corpus.jsonl"
    path.write_text("\n".join(lines))
    return path
