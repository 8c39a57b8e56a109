"""The ring between the audio callback and its reader."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_asr.audio.format import SAMPLE_RATE, STEP, STEP_S
from device_asr.audio.ring import CELL, Ring


def ramp(start: int, size: int) -> np.ndarray:
    return np.arange(start, start + size, dtype=np.float32)


def test_what_is_written_is_read_in_order_across_the_wrap() -> None:
    ring = Ring(1.0, 1000)
    pieces, position = [], 0
    for _ in range(40):
        assert ring.write(ramp(position, 300), captured=position / 1000) == 300
        position += 300
        while (piece := ring.read(70)) is not None:
            pieces.append(piece.pcm)
    assert np.array_equal(np.concatenate(pieces), ramp(0, position))
    assert ring.losses == 0 and ring.trailing_loss() == 0


def test_the_capture_time_of_a_piece_is_that_of_its_last_sample() -> None:
    ring = Ring(10.0, SAMPLE_RATE)
    for block in range(20):
        ring.write(np.zeros(STEP, np.float32), captured=100 + (block + 1) * STEP_S)
    size = 0
    while (piece := ring.read(STEP)) is not None:
        size += len(piece.pcm)
        assert piece.captured == pytest.approx(100 + size / SAMPLE_RATE, abs=1e-9)


def test_overflow_keeps_the_older_audio_and_reports_where_how_much_was_lost() -> None:
    ring = Ring(1.0, 1024)
    assert ring.capacity == 1024
    assert ring.write(ramp(0, 1000), 1.0) == 1000
    assert ring.write(ramp(1000, 100), 1.1) == 24
    assert ring.write(ramp(1100, 100), 1.2) == 0
    assert ring.losses == 1
    assert ring.trailing_loss() == pytest.approx(176 / 1024)
    first = ring.read(1024)
    assert first is not None and first.lost == 0
    assert np.array_equal(first.pcm, ramp(0, 1024))
    assert ring.write(ramp(1200, 10), 1.3) == 10
    after = ring.read(1024)
    assert after is not None
    assert after.lost == pytest.approx(176 / 1024)
    assert np.array_equal(after.pcm, ramp(1200, 10))
    assert ring.trailing_loss() == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 700)), max_size=60))
def test_every_frame_is_read_once_or_counted_where_it_is_missing(steps: list[tuple[bool, int]]) -> None:
    ring = Ring(1.0, 2 * CELL)
    written, expected = 0, 0

    def read(most: int) -> bool:
        nonlocal expected
        piece = ring.read(most)
        if piece is None:
            return False
        expected += round(piece.lost * ring.rate)
        assert np.array_equal(piece.pcm, ramp(expected, len(piece.pcm)))
        expected += len(piece.pcm)
        return True

    for is_write, size in steps:
        if is_write:
            ring.write(ramp(written, size), 0.0)
            written += size
        else:
            read(size)
    while read(10**6):
        pass
    assert expected + round(ring.trailing_loss() * ring.rate) == written


def test_a_writer_and_a_reader_on_two_threads_lose_nothing_unaccounted() -> None:
    ring = Ring(0.5, 4096)
    total = 200_000
    done = threading.Event()

    def write() -> None:
        position = 0
        while position < total:
            size = min(113, total - position)
            ring.write(ramp(position, size), 0.0)
            position += size
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    expected = 0
    while True:
        finished = done.is_set()
        piece = ring.read(64)
        if piece is None:
            if finished:
                break
            continue
        expected += round(piece.lost * ring.rate)
        assert piece.pcm[0] == expected and piece.pcm[-1] == expected + len(piece.pcm) - 1
        expected += len(piece.pcm)
    writer.join()
    assert expected + round(ring.trailing_loss() * ring.rate) == total


def test_the_meter_sees_the_newest_audio_though_nothing_was_read() -> None:
    ring = Ring(1.0, 1024)
    ring.write(ramp(0, 900), 0.0)
    assert np.array_equal(ring.latest(10), ramp(890, 10))
    assert len(Ring(1.0, 1024).latest(10)) == 0
