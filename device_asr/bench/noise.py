"""Audio without speech: white, pink, hum, clicks, silence; seeded, made piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from device_asr.audio.format import SAMPLE_RATE, STEP
from device_asr.events import Final, Partial, Seconds
from device_asr.recognition.protocol import Recognizer

SEED = 20
PIECE: Seconds = 10.0  # one level each, so that quiet and loud noise and the steps between them occur
LEVELS_DB = (-50.0, -40.0, -30.0, -20.0, -10.0)  # RMS of a piece, relative to full scale
FADE: Seconds = 0.01


def white(samples: int, rng: np.random.Generator) -> np.ndarray:
    """The same power at every frequency."""
    return rng.standard_normal(samples)


def pink(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Power that falls by 3 dB an octave, from 20 Hz up."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    frequency = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(frequency, 20.0)), samples)


def hum(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Mains of 50 or 60 Hz with 12 harmonics of random strength, slowly swelling."""
    base = rng.choice([50.0, 60.0])
    time = np.arange(samples) / SAMPLE_RATE
    swell = 1 + 0.3 * np.sin(2 * np.pi * rng.uniform(0.1, 0.5) * time)
    tones = (rng.uniform(0.2, 1) / k * np.sin(2 * np.pi * (base * k * time + rng.uniform())) for k in range(1, 13))
    return swell * sum(tones)


def clicks(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Struck resonances of 1 to 8 ms at 300 to 6000 Hz, six a second, as of a keyboard."""
    out = np.zeros(samples)
    for at in rng.integers(0, samples, int(6 * samples / SAMPLE_RATE)):
        time = np.arange(min(800, samples - at)) / SAMPLE_RATE
        ring = np.exp(-time / rng.uniform(0.001, 0.008)) * np.sin(2 * np.pi * rng.uniform(300, 6000) * time)
        out[at : at + len(time)] += rng.uniform(0.2, 1) * ring
    return out


def silence(samples: int, _: np.random.Generator) -> np.ndarray:
    """Zeros."""
    return np.zeros(samples)


KINDS: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "white": white,
    "pink": pink,
    "hum": hum,
    "clicks": clicks,
    "silence": silence,
}


def generate(kind: str, seconds: Seconds) -> Iterator[np.ndarray]:
    """Pieces of (n,) float32 in [-1, 1], `seconds` together; they are the same each time."""
    rng = np.random.default_rng([SEED, list(KINDS).index(kind)])
    left, number = round(seconds * SAMPLE_RATE), 0
    while left > 0:
        samples = min(left, int(PIECE * SAMPLE_RATE))
        audio = KINDS[kind](samples, rng)
        loudness = np.sqrt(np.mean(audio**2))
        if loudness:
            audio = audio * (10 ** (LEVELS_DB[number % len(LEVELS_DB)] / 20) / loudness)
        edge = np.minimum(1, np.arange(samples) / (FADE * SAMPLE_RATE))
        yield np.clip(audio * edge * edge[::-1], -1, 1).astype(np.float32)
        left, number = left - samples, number + 1


@dataclass(frozen=True, slots=True)
class NoiseResult:
    """Words recognized in `seconds` of noise: in finals, and in the longest partial of each utterance."""

    kind: str
    seconds: Seconds
    words: int
    partial_words: int
    texts: tuple[str, ...]


def recognize_noise(recognizer: Recognizer, kind: str, seconds: Seconds) -> NoiseResult:
    """Feeds `seconds` of noise in chunks of 32 ms."""
    finals: list[str] = []
    partials: dict[int, int] = {}
    rest = np.zeros(0, np.float32)

    def note(events: list) -> None:
        for event in events:
            if isinstance(event, Final):
                finals.append(event.text)
            elif isinstance(event, Partial):
                partials[event.utterance] = max(partials.get(event.utterance, 0), len(event.text.split()))

    for piece in generate(kind, seconds):
        audio = np.concatenate([rest, piece])
        whole = len(audio) // STEP * STEP
        for at in range(0, whole, STEP):
            note(recognizer.feed(audio[at : at + STEP]))
        rest = audio[whole:]
    note(recognizer.feed(rest) + recognizer.finish())
    return NoiseResult(kind, seconds, sum(len(text.split()) for text in finals), sum(partials.values()), tuple(finals))
