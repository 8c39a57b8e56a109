"""The audio of a session beside its text: 16 kHz, mono, 16 bit WAV."""

from __future__ import annotations

import errno
import os
import shutil
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np

from device_asr.audio.format import SAMPLE_RATE
from device_asr.events import Seconds
from device_asr.files import OWNER, create, write_at

FLUSH_S: Seconds = 1.0  # a killed recording loses at most this much
RESERVE = 16 * 2**20  # bytes of the disk that are left for text: some 10 hours of dictation with its word times
WIDTH = 2  # bytes of a sample
HEADER = 44  # bytes
LONGEST = 2**32 - 1 - HEADER  # bytes of samples that the header can say: 37 hours


class Recording:
    """A new WAV file whose header has its true length after every flush, so that a kill leaves it readable.

    Args:
        path: of the file.
        mode: its permission bits.

    Raises:
        FileExistsError: something has this name.
        OSError: the file cannot be made; or, from `write` and `close`, no more audio can be kept: what was written
            before stays readable.
    """

    def __init__(self, path: Path, mode: int = OWNER) -> None:
        self._path = path
        self._descriptor = create(path, mode)
        self._pending: list[np.ndarray] = []
        self._samples = 0  # pending
        self._written = 0  # bytes
        try:
            write_at(self._descriptor, header(0), 0)
        except OSError:
            self.drop()
            raise

    def write(self, pcm: np.ndarray) -> None:
        """Appends (n,) float32 in [-1, 1]."""
        self._pending.append(pcm)
        self._samples += len(pcm)
        if self._samples >= FLUSH_S * SAMPLE_RATE:
            self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        pcm = np.concatenate(self._pending)
        self._pending, self._samples = [], 0
        data = np.clip(np.round(pcm * 32768), -32768, 32767).astype("<i2").tobytes()
        if self._written + len(data) > LONGEST:
            raise OSError(errno.EFBIG, "a WAV file cannot be longer than 37 hours")
        if shutil.disk_usage(self._path).free < RESERVE + len(data):
            raise OSError(errno.ENOSPC, f"the last {RESERVE >> 20} MB of the disk are left for the text")
        write_at(self._descriptor, data, HEADER + self._written)
        write_at(self._descriptor, header(self._written + len(data)), 0)
        self._written += len(data)

    def close(self) -> None:
        """Writes the rest."""
        try:
            self._flush()
        finally:
            with suppress(OSError):
                os.ftruncate(self._descriptor, HEADER + self._written)  # what a failed write has left
            os.close(self._descriptor)

    def drop(self) -> None:
        """Closes the file and deletes it."""
        os.close(self._descriptor)
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def header(size: int) -> bytes:
    """Of a WAV file with so many bytes of samples."""
    rate = SAMPLE_RATE * WIDTH
    format = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, SAMPLE_RATE, rate, WIDTH, 8 * WIDTH)
    return struct.pack("<4sI4s", b"RIFF", HEADER - 8 + size, b"WAVE") + format + struct.pack("<4sI", b"data", size)
