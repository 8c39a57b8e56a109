"""Audio as rooms, microphones and lines make it: augmentation on the fly, on NumPy clips.

Every function is pure: (n,) float32 at 16 kHz in and out, all chance from the generator given, so that
a training step that is run again after a kill gets the same audio. The arithmetic is torchaudio's.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compress.data.torchaudio_shim import load as torchaudio
from compress.networks.family import family_of
from compress.networks.network import SpeechNetwork
from device_asr.audio.format import SAMPLE_RATE
from device_asr.errors import UsageError

SPEEDS = (0.95, 1.05)  # one resampling kernel each; wider ones move the pitch out of a voice's range
LINE_RATE = 8_000  # samples a second of a telephone line
LINE_BAND = (300.0, 3_400.0)  # hertz
ROOM_DECAY = (0.15, 0.6)  # seconds to -60 dB: a furnished room to a bare hall
ROOM_RATIO = (0.0, 15.0)  # dB of the direct sound over the reverberation
SNR = (5.0, 30.0)  # dB of speech over background


@dataclass(frozen=True)
class Augmentation:
    """Fractions of clips that are changed in each way; lead and tail are seconds.

    lead, tail: most room before and after a clip. noise: background audio at 5 to 30 dB.
    reverb: a simulated room. speed: 5 % slower or faster. telephone: 300 to 3400 Hz, mu-law.
    clipped: driven over full scale. masked: bands of the spectrogram hidden (SpecAugment).
    """

    lead: float = 0.4
    tail: float = 1.0
    noise: float = 0.3
    reverb: float = 0.15
    speed: float = 0.2
    telephone: float = 0.05
    clipped: float = 0.05
    masked: float = 0.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            top = 5.0 if item.name in ("lead", "tail") else 1.0
            if not 0 <= value <= top:
                raise UsageError(f"augment.{item.name}: wanted a number from 0 to {top:g}, found {value}.")

    def apply(
        self, audio: np.ndarray, noises: Sequence[np.ndarray], rng: np.random.Generator, longest: int
    ) -> np.ndarray:
        """A clip as it might have been recorded, with room around it, at most `longest` samples.

        Only the room is shortened, never the speech: a clip longer than `longest` is the caller's error.
        """
        if len(audio) > longest:
            raise ValueError(f"wanted a clip of at most {longest} samples, found {len(audio)}")
        if rng.random() < self.speed:
            other = change_speed(audio, SPEEDS[int(rng.integers(len(SPEEDS)))])
            audio = other if len(other) <= longest else audio
        audio = surround(audio, self.lead, self.tail, longest, rng)
        if rng.random() < self.reverb:
            audio = convolve(audio, room(rng))
        if rng.random() < 0.5:  # faint room tone instead of digital silence
            audio = audio + rng.normal(0, 10 ** rng.uniform(-4.5, -3), len(audio)).astype(np.float32)
        if noises and rng.random() < self.noise:
            audio = add_noise(audio, noises[int(rng.integers(len(noises)))], rng.uniform(*SNR), rng)
        if rng.random() < self.telephone:
            audio = telephone(audio)
        if rng.random() < self.clipped:
            audio = clip(audio, rng.uniform(3, 12))
        return np.clip(audio * 10 ** (rng.uniform(-12, 6) / 20), -1, 1).astype(np.float32)


def surround(audio: np.ndarray, lead: float, tail: float, longest: int, rng: np.random.Generator) -> np.ndarray:
    """Silence of random length, up to `lead` seconds before and `tail` after, within `longest` samples."""
    before, after = (int(rng.uniform(0, most) * SAMPLE_RATE) for most in (lead, tail))
    spare = longest - len(audio)
    before = min(before, spare)
    return np.pad(audio, (before, min(after, spare - before)))


def change_speed(audio: np.ndarray, factor: float) -> np.ndarray:
    """Faster (factor > 1, higher) or slower speech, by resampling."""
    changed, _ = torchaudio().functional.speed(torch.from_numpy(audio), SAMPLE_RATE, factor)
    return changed.numpy()


def add_noise(audio: np.ndarray, noise: np.ndarray, snr: float, rng: np.random.Generator) -> np.ndarray:
    """Background from a random place of `noise`, repeated where it is short, at `snr` dB; silent noise adds nothing."""
    noise = np.resize(np.roll(noise, int(rng.integers(len(noise)))), len(audio)).astype(np.float32)
    if not np.any(noise) or not np.any(audio):
        return audio
    mixed = torchaudio().functional.add_noise(torch.from_numpy(audio), torch.from_numpy(noise), torch.tensor(snr))
    return mixed.float().numpy()


def room(rng: np.random.Generator) -> np.ndarray:
    """A simulated impulse response: the direct sound, then noise that decays exponentially (Polack's model).

    The direct sound is the first sample, so that convolving does not delay the speech.
    """
    decay = rng.uniform(*ROOM_DECAY)
    n = np.arange(int(decay * SAMPLE_RATE))
    gap = int(rng.uniform(0.001, 0.008) * SAMPLE_RATE)  # until the first wall answers
    late = rng.normal(size=len(n)) * 10 ** (-3.0 * n / len(n))
    late[:gap] = 0.0
    late *= 10 ** (-rng.uniform(*ROOM_RATIO) / 20) / np.sqrt(np.sum(late**2))
    late[0] = 1.0
    return late.astype(np.float32)


def convolve(audio: np.ndarray, response: np.ndarray) -> np.ndarray:
    """`audio` convolved with `response`, as long and as strong as before."""
    wet = torchaudio().functional.fftconvolve(torch.from_numpy(audio), torch.from_numpy(response))
    wet = wet[: len(audio)].numpy()
    before, after = float(np.mean(audio**2)), float(np.mean(wet**2))
    return wet * np.float32(np.sqrt(before / after)) if after > 0 else wet


def telephone(audio: np.ndarray) -> np.ndarray:
    """300 to 3400 Hz at 8 kHz through 8-bit mu-law, back at 16 kHz."""
    functional = torchaudio().functional
    line = functional.resample(torch.from_numpy(audio), SAMPLE_RATE, LINE_RATE)
    line = functional.fftconvolve(line, _line_filter(), mode="same")
    peak = line.abs().max().clamp(min=1e-6)
    line = functional.mu_law_decoding(functional.mu_law_encoding(line / peak, 256), 256) * peak
    return functional.resample(line, LINE_RATE, SAMPLE_RATE)[: len(audio)].numpy()


@functools.cache
def _line_filter() -> Tensor:
    from scipy.signal import firwin

    return torch.from_numpy(firwin(101, LINE_BAND, pass_zero=False, fs=LINE_RATE).astype(np.float32))


def clip(audio: np.ndarray, drive: float) -> np.ndarray:
    """The peaks cut flat, `drive` dB under the highest."""
    top = float(np.abs(audio).max()) * 10 ** (-drive / 20)
    return np.clip(audio, -top, top)


class TrainingFrontend(nn.Module):
    """A frontend in float32 whatever the rest computes in, whose spectrogram may be masked in training.

    bfloat16 has 8 bits: too few for a DFT as a matrix product, whose small sums decide the quiet bands.
    It holds no weights of its own, so the network's state stays the same.
    """

    def __init__(self, frontend: nn.Module, masked: float = 0.0) -> None:
        super().__init__()
        self.frontend, self.masked = frontend, masked

    def forward(self, pcm: Tensor, chunk: int | None = None) -> Tensor:
        with torch.autocast(pcm.device.type, enabled=False):
            mel = self.frontend(pcm.float(), chunk)
        if not self.training or self.masked == 0:
            return mel
        return torch.where(torch.rand(len(mel), 1, 1, device=mel.device) < self.masked, spec_augment(mel), mel)


def prepare_frontend(network: SpeechNetwork, masked: float = 0.0) -> None:
    """Puts a `TrainingFrontend` around the network's own frontend, in place.

    Raises:
        UsageError: a spectrogram is to be masked, and the network has none.
    """
    family = family_of(network.dims)
    if masked and not family.spectrogram:
        raise UsageError(
            f"augment.masked: wanted a network whose frontend makes a spectrogram, found {family.name}, which reads "
            "samples; leave it at 0."
        )
    network.set_submodule("frontend", TrainingFrontend(network.get_submodule("frontend"), masked))


def spec_augment(mel: Tensor) -> Tensor:
    """Two bands of up to 15 mels and two spans of up to 0.4 s hidden; (batch, frames, n_mels), torch's generator."""
    functional: Any = torchaudio().functional
    spectrogram = mel.transpose(1, 2)[:, None]  # torchaudio's (batch, channel, frequency, time)
    for widest, axis in ((15, 2), (15, 2), (40, 3), (40, 3)):
        spectrogram = functional.mask_along_axis_iid(spectrogram, widest, 0.0, axis, p=0.3)
    return spectrogram[:, 0].transpose(1, 2)
