"""Audio files, read block by block: any rate and channel count that libsndfile reads."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from device_asr.audio.format import SAMPLE_RATE
from device_asr.audio.resample import Converter
from device_asr.audio.source import AudioChunk
from device_asr.errors import AudioError
from device_asr.printable import printable

BLOCK_S = 0.25  # seconds read at a time: memory does not grow with the file
MOST_SAMPLES = 1_000_000  # of all channels, read at a time (4 MB): a header may claim 1024 channels at 768 kHz
RATES = (1000, 768_000)  # Hz that can be speech; outside, the header is wrong
UNKNOWN_BYTES = 0x7FFF_0000  # a WAV written to a pipe has a size near 2 or 4 GiB for "not known"
UNENDED = "Last page lacks an end-of-stream bit"  # libsndfile's log of an Ogg stream that was cut
NOT_A_FILE = 7  # libsndfile's code where its MP3 decoder finds nothing; `_check_readable` has found a file


class FileSource:
    """An audio file as chunks of 16 kHz mono.

    Raises:
        AudioError: missing, a folder or pipe, no permission, not audio, empty, an absurd rate.
    """

    def __init__(self, path: Path) -> None:
        self.name = printable(str(path))
        _check_readable(path)
        import soundfile

        try:  # a name need not be text on POSIX
            self._file = soundfile.SoundFile(path if os.name == "nt" else os.fsencode(path))
        except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
            raise AudioError(
                f"{path}: not an audio file that can be read ({_reason(error)}); wanted wav, flac, mp3 or "
                "ogg, and `ffmpeg -i IN OUT.wav` converts others."
            ) from None
        if self._file.frames == 0:
            self._file.close()
            raise AudioError(f"{path}: the file has a header and no audio in it; record or copy it again.")
        self.rate = self._file.samplerate
        if not RATES[0] <= self.rate <= RATES[1]:
            self._file.close()
            raise AudioError(
                f"{path}: wanted a rate of {RATES[0]} to {RATES[1]} Hz, the header says {self.rate}; "
                "convert it with `ffmpeg -i IN -ar 16000 OUT.wav`."
            )
        self._promised = _promised_frames(self._file.frames, self._file.extra_info)
        self._unended = UNENDED in self._file.extra_info
        self.seconds = self._promised / self.rate  # as the header says; a cut file may have less
        self.truncated = False
        self._converter = Converter(self.rate)
        self._delivered = 0

    def __iter__(self) -> Iterator[AudioChunk]:
        import soundfile

        block = block_frames(self.rate, self._file.channels)
        read = 0
        last = False
        while not last:
            try:
                data = self._file.read(block, dtype="float32", always_2d=True)
            except (soundfile.LibsndfileError, RuntimeError):
                data = np.zeros((0, 1), np.float32)
            read += len(data)
            last = len(data) < block
            pcm = self._converter(data, last=last)
            if len(pcm):
                yield AudioChunk(pcm, self._delivered / SAMPLE_RATE, time.monotonic())
                self._delivered += len(pcm)
        self.truncated = read < self._promised or self._unended
        self.close()
        if read == 0:
            raise AudioError(
                f"{self.name}: the header promises {self.seconds:.1f} s of audio and none can be read; "
                "the file is cut short or damaged, copy it again."
            )

    def notes(self) -> list[str]:
        """Sentences about oddities of the file; complete after reading."""
        found = self._converter.notes(self.name, cut=self.truncated)
        if self.truncated:
            seconds = self._delivered / SAMPLE_RATE
            promise = "its end is missing" if self._unended else f"the header promises {self.seconds:.1f} s"
            found.append(f"{self.name}: cut short: {promise}, {seconds:.1f} s could be read and were transcribed.")
        return found

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def block_frames(rate: int, channels: int) -> int:
    """Frames to read at a time: `BLOCK_S` of audio, or as much less as has `MOST_SAMPLES` over all channels."""
    return max(1, min(int(BLOCK_S * rate), MOST_SAMPLES // channels))


def _promised_frames(frames: int, log: str) -> int:
    """Frames that the header promises: libsndfile reports those in the file, and logs the difference."""
    sizes = re.search(r"(?m)^ *(?:data|SSND|Data Size|riff) *: (\d+) \(should be (\d+)\)", log)  # riff: W64's
    if sizes is None:
        return frames
    promised, found = map(int, sizes.groups())
    return frames if promised >= UNKNOWN_BYTES or found == 0 else max(frames, frames * promised // found)


def _reason(error: Exception) -> str:
    if getattr(error, "code", None) == NOT_A_FILE:
        return "Format not recognized"
    return str(error).rpartition(": ")[2].rstrip(".") or type(error).__name__


def _check_readable(path: Path) -> None:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise AudioError(f"{path}: a folder; wanted an audio file, so name the files in it.")
        if path.suffix.lower() == ".raw":
            raise AudioError(
                f"{path}: raw samples have no header with their rate; give them to `device-asr "
                f"transcribe - --encoding s16le --rate 16000 < {path.name}`."
            )
        if not stat.S_ISREG(mode):  # opening a pipe would wait for its writer for ever
            raise AudioError(f"{path}: a pipe or device; wanted an audio file, or raw PCM on standard input with -.")
        with path.open("rb") as file:
            if not file.read(1):
                raise AudioError(f"{path}: the file is empty (0 bytes); record or copy it again.")
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file; check the name.") from None
    except PermissionError:
        raise AudioError(f"{path}: no permission to read it; `chmod u+r` it or run as its owner.") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise AudioError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}).") from None
