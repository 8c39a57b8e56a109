"""The in-graph log-mel spectrogram is Whisper's: equal to an independent short-time Fourier transform."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from compress.networks.whisper.frontend import HOP, N_FFT, LogMel, mel_filters
from tests.support.paths import ASSETS


def whisper_log_mel(pcm: np.ndarray) -> np.ndarray:
    """Whisper's definition with scipy: mirrored edge, Hann, power, Slaney mel, log10, 80 dB under the maximum."""
    padded = np.concatenate([pcm[1:201][::-1], pcm, np.zeros(200)])
    stft = ShortTimeFFT(hann(N_FFT, sym=False), HOP, 16_000, scale_to=None)
    count = len(pcm) // HOP
    frames = np.stack([padded[k * HOP : k * HOP + N_FFT] for k in range(count)]) * stft.win
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    log = np.log10(np.maximum(power @ mel_filters(80).T.astype(np.float64), 1e-10))
    return (np.maximum(log, log.max() - 8.0) + 4.0) / 4.0


@pytest.mark.parametrize("name", ["letter.flac", "timer.flac"])
def test_equals_an_independent_transform(name: str) -> None:
    pcm, _ = soundfile.read(ASSETS / name, dtype="float32")
    pcm = pcm[: len(pcm) // 320 * 320]
    ours = LogMel(80)(torch.from_numpy(pcm)[None])[0].numpy()
    np.testing.assert_allclose(ours, whisper_log_mel(pcm.astype(np.float64)), atol=2e-4)


def test_filters_are_those_whisper_ships() -> None:
    features = pytest.importorskip("faster_whisper.feature_extractor")
    theirs = features.FeatureExtractor(feature_size=80).mel_filters
    np.testing.assert_allclose(mel_filters(80), theirs, atol=1e-6)


def test_silence_is_the_floor() -> None:
    assert torch.allclose(LogMel(80)(torch.zeros(1, 3200)), torch.tensor((-10.0 + 4.0) / 4.0))
