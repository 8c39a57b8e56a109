"""Records on a disk that is full, broken or gone for a while."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from device_asr.dictation import records as module
from device_asr.dictation.records import Records, lock

FAST = 0.02  # seconds


class Disk:
    """Stands between the records and the disk; refuses while `error` is set.

    room: bytes that still find place. syncs: whether fsync refuses too, and alone where `room` is large.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: int | None = None
        self.room, self.syncs = 0, False
        self._write, self._fsync = os.write, os.fsync
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "fsync", self.fsync)

    def write(self, descriptor: int, data: bytes) -> int:
        if self.error is None:
            return self._write(descriptor, data)
        if self.room <= 0:
            raise OSError(self.error, os.strerror(self.error))
        done = self._write(descriptor, bytes(data)[: self.room])
        self.room -= done
        return done

    def fsync(self, descriptor: int) -> None:
        if self.error is not None and self.syncs:
            raise OSError(self.error, os.strerror(self.error))
        self._fsync(descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk(monkeypatch)
    yield disk
    disk.error = None


def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.005)


def numbers(path: Path) -> list[int]:
    return [json.loads(line)["n"] for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("room", [0, 1, 5, 9, 10, 14, 25])
def test_what_is_refused_at_any_byte_is_written_again_and_glued_to_nothing(
    disk: Disk, number: int, room: int, tmp_path: Path
) -> None:
    records = Records(tmp_path / "a", 0o600, interval=FAST)
    records.add({"n": 0})
    disk.error, disk.room = number, room
    for n in range(1, 4):
        records.add({"n": n}, f"text {n}")
    until(lambda: records.unkept == ["text 1", "text 2", "text 3"])
    assert records.trouble is not None and records.trouble.errno == number
    assert not records.close(), "the file stays open"
    disk.error = None
    records.add({"n": 4}, "text 4")
    until(lambda: records.trouble is None and not records.unkept)
    assert records.close()
    assert numbers(tmp_path / "a") == [0, 1, 2, 3, 4]


def test_it_is_written_again_without_any_new_record(disk: Disk, tmp_path: Path) -> None:
    records = Records(tmp_path / "a", 0o600, interval=FAST)
    disk.error, disk.room = errno.ENOSPC, 3
    records.add({"n": 0}, "text")
    assert records.unkept == ["text"]
    disk.error = None
    until(lambda: not records.unkept)
    assert numbers(tmp_path / "a") == [0]


def test_after_a_failed_fsync_everything_since_the_last_one_counts_as_lost_and_is_written_again(
    disk: Disk, tmp_path: Path
) -> None:
    records = Records(tmp_path / "a", 0o600, interval=FAST)
    records.add({"n": 0}, "text 0")
    until(lambda: records.trouble is None and not records._waiting)
    disk.error, disk.room, disk.syncs = errno.EIO, 10**6, True
    records.add({"n": 1}, "text 1")
    until(lambda: records.unkept == ["text 1"])
    with (tmp_path / "a").open("r+b") as file:  # the system has dropped what it could not write
        file.truncate(9)
    disk.error = None
    until(lambda: not records.unkept)
    assert records.close() and numbers(tmp_path / "a") == [0, 1]


def test_of_what_moves_the_newest_is_written_once_in_an_interval(tmp_path: Path) -> None:
    records = Records(tmp_path / "a", 0o600, interval=0.3)
    began = time.monotonic()
    for n in range(1000):
        records.moving({"n": n}, str(n))
    assert numbers(tmp_path / "a") == [0] or time.monotonic() - began > 0.3
    until(lambda: numbers(tmp_path / "a")[-1] == 999)
    assert len(numbers(tmp_path / "a")) <= 2 + (time.monotonic() - began) / 0.3
    records.moving({"n": 1000}, "")
    records.add({"n": 1001}, settles=True)
    records.moving({"n": 1002}, "")
    records.add({"n": 1003})
    assert records.close() and numbers(tmp_path / "a")[-3:] == [1001, 1003, 1002], "1000 came to its end before"


def test_a_slow_disk_holds_up_nobody(disk: Disk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: time.sleep(0.5))
    records = Records(tmp_path / "a", 0o600)
    began = time.monotonic()
    for n in range(50):
        records.add({"n": n})
        records.moving({"n": n}, "")
    assert time.monotonic() - began < 0.4
    assert numbers(tmp_path / "a")[0] == 0, "a kill loses nothing of it"


@pytest.mark.parametrize("with_its_folder", [False, True])
def test_a_file_that_somebody_deletes_is_made_anew(with_its_folder: bool, tmp_path: Path) -> None:
    path = tmp_path / "sessions" / "a"
    path.parent.mkdir()
    records = Records(path, 0o600, interval=FAST)
    records.add({"n": 0}, "text 0")
    until(lambda: not records._waiting)
    path.unlink()
    if with_its_folder:
        path.parent.rmdir()
    records.add({"n": 1}, "text 1")
    if with_its_folder:
        until(lambda: records.trouble is not None)
        assert not records.close() and records.unkept == ["text 1"]
        path.parent.mkdir()
    until(lambda: path.exists() and not records._waiting)
    records.add({"n": 2}, "text 2")
    descriptor = os.open(path, os.O_RDONLY)
    assert not lock(descriptor), "the new one counts as being written, too"
    os.close(descriptor)
    assert records.close() and numbers(path) == [1, 2]


def test_after_the_end_nothing_is_taken_and_nothing_is_left_running(tmp_path: Path) -> None:
    records = Records(tmp_path / "a", 0o600)
    records.add({"n": 0})
    assert records.close() and records.close()
    for call in (lambda: records.add({"n": 1}), lambda: records.moving({"n": 1}, "")):
        with pytest.raises(ValueError, match="was closed"):
            call()
    assert not records._thread.is_alive()
    with pytest.raises(FileExistsError):
        Records(tmp_path / "a", 0o600)
    dropped = Records(tmp_path / "b", 0o600)
    dropped.drop()
    assert not (tmp_path / "b").exists() and not dropped._thread.is_alive()


def test_half_a_character_is_kept_as_its_escape(tmp_path: Path) -> None:
    records = Records(tmp_path / "a", 0o600)
    records.add({"text": "a\udcffb"})
    records.close()
    assert json.loads((tmp_path / "a").read_bytes()) == {"text": "a\udcffb"}


def test_the_interval_is_the_second_that_a_kill_may_cost() -> None:
    assert module.INTERVAL == 1.0
