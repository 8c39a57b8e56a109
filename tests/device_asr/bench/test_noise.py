"""Noise that holds no speech: what it is, and the words that come of it."""

from __future__ import annotations

import numpy as np
import pytest

from device_asr.audio.format import SAMPLE_RATE
from device_asr.bench.noise import KINDS, LEVELS_DB, generate, recognize_noise
from device_asr.events import Final, Partial
from tests.support.scripted import Scripted


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_repeatable_as_long_as_asked_and_within_range(kind: str) -> None:
    audio = np.concatenate(list(generate(kind, 21.5)))
    assert audio.dtype == np.float32 and len(audio) == 21.5 * SAMPLE_RATE
    assert np.abs(audio).max() <= 1
    assert np.array_equal(audio, np.concatenate(list(generate(kind, 21.5))))
    assert np.any(audio) == (kind != "silence")


def test_noise_comes_at_several_levels() -> None:
    levels = [20 * np.log10(np.sqrt(np.mean(piece**2))) for piece in generate("white", 50)]
    assert levels == pytest.approx(LEVELS_DB, abs=0.2)


def test_pink_noise_falls_by_three_decibels_an_octave() -> None:
    power = np.abs(np.fft.rfft(np.concatenate(list(generate("pink", 10))))) ** 2
    bands = [power[10 * low : 20 * low].mean() for low in (100, 1600)]  # 0.1 Hz a bin; four octaves apart
    assert 10 * np.log10(bands[0] / bands[1]) == pytest.approx(12, abs=1)


def test_words_made_of_noise_are_counted_in_finals_and_while_they_are_shown() -> None:
    script = [
        Partial(0, "thank you", "", 0, 1, 1.0),
        Partial(0, "thank you all", "", 0, 2, 2.0),
        Partial(1, "you", "", 0, 3, 3.0),
        Final(1, "Thank you.", 0, 3, 4.0, (), 1.0),
    ]
    found = recognize_noise(Scripted(script), "silence", 10)
    assert found.words == 2 and found.partial_words == 4 and found.texts == ("Thank you.",)


def test_hum_has_its_power_at_multiples_of_the_mains() -> None:
    power = np.abs(np.fft.rfft(next(generate("hum", 10)))) ** 2
    peaks = np.argsort(power)[-5:] / 10
    assert all(min(peak % 50, 50 - peak % 50) < 1 for peak in peaks) or all(
        min(peak % 60, 60 - peak % 60) < 1 for peak in peaks
    )
