"""Whisper's log-mel spectrogram as a module: trained with, exported with, one code.

The short-time Fourier transform is a matrix product over frames made by slicing hops and
concatenating them: `torch.stft` and `unfold` do not lower to XNNPACK, a linear layer does.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from device_asr.audio.format import SAMPLE_RATE

N_FFT = 400  # samples: 25 ms windows
HOP = 160  # samples: 10 ms
SAMPLES_PER_POSITION = 2 * HOP  # the encoder's second convolution halves the frame rate: 20 ms
LOG_FLOOR = 1e-10
START_LOUDEST = 0.5  # log10 mel power before any audio: a third of 180 training clips never reach it
DYNAMIC_RANGE = 8.0  # in log10: Whisper drops what is 80 dB under the loudest frame


def _hertz_to_mel(hertz: np.ndarray | float) -> np.ndarray:
    """Slaney's scale: linear up to 1 kHz, logarithmic above."""
    hertz = np.asarray(hertz, dtype=np.float64)
    step = math.log(6.4) / 27.0
    return np.where(hertz < 1000.0, hertz * 3 / 200, 15.0 + np.log(np.maximum(hertz, 1000.0) / 1000.0) / step)


def _mel_to_hertz(mel: np.ndarray) -> np.ndarray:
    step = math.log(6.4) / 27.0
    return np.where(mel < 15.0, mel * 200 / 3, 1000.0 * np.exp(step * (np.maximum(mel, 15.0) - 15.0)))


def mel_filters(n_mels: int) -> np.ndarray:
    """Triangular filters with Slaney's normalization, (n_mels, 201) float32; Whisper's, from librosa."""
    edges = _mel_to_hertz(np.linspace(_hertz_to_mel(0.0), _hertz_to_mel(SAMPLE_RATE / 2), n_mels + 2))
    bins = np.linspace(0.0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    width = np.diff(edges)
    ramps = edges[:, None] - bins[None, :]
    rising = -ramps[:-2] / width[:-1, None]
    falling = ramps[2:] / width[1:, None]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    return (filters * (2.0 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


def _fourier_matrix() -> np.ndarray:
    """Hann window times the real and imaginary parts of the DFT, (400, 402) float32."""
    n = np.arange(N_FFT)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / N_FFT)
    phase = 2 * np.pi * np.outer(n, np.arange(N_FFT // 2 + 1)) / N_FFT
    return (window[:, None] * np.concatenate([np.cos(phase), -np.sin(phase)], axis=1)).astype(np.float32)


def framed(hops: Tensor) -> Tensor:
    """Frames (batch, n - 2, 400) of hops (batch, n, 160): slices side by side, because `unfold` is not delegated."""
    return torch.cat([hops[:, :-2], hops[:, 1:-1], hops[:, 2:, : N_FFT - 2 * HOP]], dim=2)


class LogMel(nn.Module):
    """PCM to Whisper's normalized log-mel spectrogram."""

    fourier: Tensor
    filters: Tensor

    def __init__(self, n_mels: int) -> None:
        super().__init__()
        fourier = torch.from_numpy(_fourier_matrix())
        self.register_buffer("fourier", fourier.t().contiguous(), persistent=False)
        self.register_buffer("filters", torch.from_numpy(mel_filters(n_mels)), persistent=False)

    def power(self, pcm: Tensor) -> Tensor:
        """Logarithmic mel power before normalization.

        Args:
            pcm: (batch, samples) float32, samples a multiple of 160.

        Returns:
            (batch, samples / 160, n_mels): frames centered on multiples of the hop. The left edge is
            mirrored as Whisper does; the right edge sees zeros, as in Whisper's padding to 30 s.
        """
        batch = pcm.shape[0]
        mirrored = pcm[:, 1 : N_FFT // 2 + 1].flip(1)
        padded = torch.cat([mirrored, pcm, pcm.new_zeros(batch, 3 * HOP - N_FFT // 2)], dim=1)
        hops = padded.view(batch, -1, HOP)
        return self.frames_power(framed(hops)[:, :-1])

    def frames_power(self, frames: Tensor) -> Tensor:
        """Logarithmic mel power of frames (..., 400) -> (..., n_mels), log10."""
        spectrum = nn.functional.linear(frames, self.fourier)
        half = N_FFT // 2 + 1
        real, imaginary = spectrum[..., :half], spectrum[..., half:]
        mel = nn.functional.linear(real * real + imaginary * imaginary, self.filters)
        return torch.log(torch.clamp(mel, min=LOG_FLOOR)) * (1.0 / math.log(10.0))

    def forward(self, pcm: Tensor, chunk: int | None = None) -> Tensor:
        """(batch, samples) -> (batch, samples / 160, n_mels), normalized by the clip's maximum.

        chunk: positions encoded at once, normalized by the maximum so far; None: the whole clip.
        """
        log_mel = self.power(pcm)
        if chunk is not None:
            return normalize_running(log_mel, chunk)
        loudest = log_mel.amax(dim=(1, 2), keepdim=True)
        return (torch.maximum(log_mel, loudest - DYNAMIC_RANGE) + 4.0) * 0.25


def normalize_running(log_mel: Tensor, size: int) -> Tensor:
    """Whisper's normalization with the loudest frame so far in place of the loudest of the clip.

    A chunk of `size` positions is encoded with one mel frame (10 ms) of the next: frames 1 to 2 size are
    the first chunk's, and so on; frame 0 is silence before the audio.

    Args:
        log_mel: (batch, frames, n_mels), log10, see `LogMel.power`.
    """
    batch, frames, _ = log_mel.shape
    loudest = log_mel[:, 1:].amax(dim=2)
    chunks = -(-(frames - 1) // (2 * size))
    padded = nn.functional.pad(loudest, (0, chunks * 2 * size - (frames - 1)), value=-10.0)
    so_far = padded.view(batch, chunks, 2 * size).amax(dim=2).clamp(min=START_LOUDEST).cummax(dim=1).values
    floor = so_far.repeat_interleave(2 * size, 1)[:, : frames - 1]
    floor = torch.cat([torch.full_like(floor[:, :1], START_LOUDEST), floor], dim=1)[..., None] - DYNAMIC_RANGE
    return (torch.maximum(log_mel, floor) + 4.0) * 0.25
