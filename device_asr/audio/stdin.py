"""Raw PCM from standard input."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from device_asr.audio.file import RATES, block_frames
from device_asr.audio.format import SAMPLE_RATE
from device_asr.audio.resample import Converter
from device_asr.audio.source import AudioChunk
from device_asr.errors import AudioError, UsageError

ENCODINGS: dict[str, tuple[np.dtype[Any], float]] = {
    "s16le": (np.dtype("<i2"), 32768.0),
    "f32le": (np.dtype("<f4"), 1.0),
}
CONTAINERS = {
    b"RIFF": "a WAV file",
    b"fLaC": "a FLAC file",
    b"OggS": "an Ogg stream",
    b"ID3": "an MP3 file",
    b"FORM": "an AIFF file",
}


class StdinSource:
    """Interleaved samples of a binary stream as chunks of 16 kHz mono, without waiting for more.

    Args:
        encoding: s16le or f32le. rate: Hz. channels: interleaved, mixed to one.
    """

    def __init__(self, stream: BinaryIO, encoding: str, rate: int, channels: int) -> None:
        if not RATES[0] <= rate <= RATES[1]:
            raise UsageError(f"--rate: wanted {RATES[0]} to {RATES[1]} Hz, found {rate}.")
        self.name = "standard input"
        self.rate, self.seconds = rate, None
        self._stream, self._channels = stream, channels
        self._dtype, self._scale = ENCODINGS[encoding]
        self._converter = Converter(rate)
        self._read = self._spare = 0
        self._delivered = 0

    def __iter__(self) -> Iterator[AudioChunk]:
        frame = self._dtype.itemsize * self._channels
        block = block_frames(self.rate, self._channels) * frame
        rest, last = b"", False
        while not last:
            # read1: what is there now, so that a slow pipe is read without waiting for a whole block
            data = self._stream.read1(block) if hasattr(self._stream, "read1") else self._stream.read(block)
            last = not data
            container = next((name for magic, name in CONTAINERS.items() if data.startswith(magic)), None)
            if self._read == 0 and container:
                raise AudioError(
                    f"standard input: wanted raw PCM, found {container}; name the file instead of -, or "
                    "take its header off with `ffmpeg -i - -f s16le -ar 16000 -ac 1 -`."
                )
            self._read += len(data)
            data = rest + data
            whole = len(data) // frame * frame
            data, rest = data[:whole], data[whole:]
            samples = np.frombuffer(data, self._dtype).astype(np.float32)
            if self._scale != 1.0:
                samples /= self._scale
            pcm = self._converter(samples.reshape(-1, self._channels), last=last)
            if len(pcm):
                yield AudioChunk(pcm, self._delivered / SAMPLE_RATE, time.monotonic())
                self._delivered += len(pcm)
        self._spare = len(rest)
        if self._read == 0:
            raise AudioError(
                "standard input: no audio came; wanted raw PCM, as from `ffmpeg -i IN -f s16le -ar 16000 -ac 1 -`."
            )

    def notes(self) -> list[str]:
        """Sentences about oddities of the stream; complete after reading."""
        found = self._converter.notes(self.name)
        if self._spare:
            found.append(f"{self.name}: ended in the middle of a sample; check --encoding and --channels.")
        return found

    def close(self) -> None:
        """Nothing to close: the stream is the caller's."""
