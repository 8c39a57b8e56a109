"""Memory while a file is read: it grows neither with its length nor with what its header claims."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from device_asr.audio.file import MOST_SAMPLES, FileSource, block_frames
from device_asr.audio.format import SAMPLE_RATE
from device_asr.errors import AudioError


def wav(path: Path, channels: int, rate: int, frames: int) -> Path:
    """Written by hand: libsndfile writes no more than it believes."""
    size, frame = frames * channels * 2, channels * 2
    header = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * frame & 0xFFFFFFFF, frame & 0xFFFF, 16)
    path.write_bytes(struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + header + struct.pack("<4sI", b"data", size))
    with path.open("ab") as file:
        file.truncate(path.stat().st_size + size)
    return path


@pytest.mark.parametrize(("channels", "rate"), [(1024, 768_000), (1024, 16_000), (2, 768_000), (1, 1000)])
def test_channels_and_rates_of_a_header_do_not_take_the_memory(channels: int, rate: int, tmp_path: Path) -> None:
    source = FileSource(wav(tmp_path / "a.wav", channels, rate, rate // 8))
    tracemalloc.start()
    samples = sum(len(chunk.pcm) for chunk in source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert abs(samples - SAMPLE_RATE // 8) < 100 and peak < 30_000_000


def test_a_block_is_a_quarter_of_a_second_of_usual_audio() -> None:
    assert block_frames(16_000, 1) == 4000 and block_frames(192_000, 8) == 48_000
    assert block_frames(768_000, 1024) * 1024 <= MOST_SAMPLES
    assert block_frames(1000, 10**9) == 1


def test_mixing_many_channels_in_small_blocks_is_mixing_them(tmp_path: Path) -> None:
    import soundfile

    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (16_000, 32)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", audio, 256_000, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", audio.mean(axis=1), 256_000, subtype="FLOAT")
    one, other = (np.concatenate([c.pcm for c in FileSource(tmp_path / name)]) for name in ("a.wav", "b.wav"))
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_name_with_a_zero_byte_is_a_sentence() -> None:
    with pytest.raises(AudioError, match="cannot be read"):
        FileSource(Path("a\0b.wav"))
