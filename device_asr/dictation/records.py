"""Records appended to a file on a disk that may be full, broken or gone for a while."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_asr.events import Seconds
from device_asr.files import create, write_at

INTERVAL: Seconds = 1.0  # between two writes of what moves, and between two tries while the disk refuses


@dataclass(frozen=True, slots=True)
class _Record:
    """One line; `text` is what a person would miss of it."""

    data: bytes
    text: str


class Records:
    """A new file of records, one JSON object a line, for one writer; safe to use from several threads.

    A record is handed to the system before `add` returns, so that it outlives this process, and a thread brings it to
    the disk. Records that the disk refuses are kept here in order, and are written again every `interval` at the place
    where they belong. So what an interrupted try has left is written over with the same bytes, and no record is glued
    to it. After a failed fsync everything since the last one is written again: the system may have dropped it.

    Args:
        path: a file that is not there yet.
        mode: its permission bits.
        interval: see `moving`.

    Raises:
        FileExistsError: the file is there.
        OSError: it cannot be made.
    """

    def __init__(self, path: Path, mode: int, *, interval: Seconds = INTERVAL) -> None:
        self.path, self._mode, self._interval = path, mode, interval
        self._descriptor = self._made()
        self._state, self._syncing = threading.Condition(), threading.Lock()
        self._waiting: deque[_Record] = deque()  # not known to be on the disk, oldest first
        self._handed = 0  # so many of them were handed to the system
        self._sure = self._end = 0  # bytes of the file that are on the disk; that were handed over
        self._moving: _Record | None = None
        self._moved = self._tried = float("-inf")
        self._trouble: OSError | None = None
        self._gone = self._closed = False
        self._thread = threading.Thread(target=self._work, name="records", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> OSError | None:
        """Why something is not on the disk; None: nothing was refused that still waits. Never blocks."""
        return self._trouble

    @property
    def unkept(self) -> list[str]:
        """The texts of the records that are not on the disk because it refuses them."""
        with self._state:
            if self._trouble is None:
                return []
            records = [*self._waiting, *([self._moving] if self._moving else [])]
            return [record.text for record in records if record.text]

    def add(self, record: dict[str, Any], text: str = "", *, settles: bool = False) -> None:
        """Appends a record.

        Args:
            record: JSON-ready.
            text: what a person would miss of it.
            settles: what moves has come to its end, and is dropped where it was not written yet.

        Raises:
            ValueError: the file was closed.
        """
        with self._state:
            self._refuse_if_closed()
            if settles:
                self._moving = None
            self._waiting.append(_encoded(record, text))
            self._hand_over()
            self._state.notify()

    def moving(self, record: dict[str, Any], text: str) -> None:
        """Appends the newest state of something that changes often, `interval` after the last one at the earliest.

        Of several within that time the last is written, when it is over. A kill loses what came within it.
        """
        with self._state:
            self._refuse_if_closed()
            self._moving = _encoded(record, text)
            self._hand_over_moving()
            self._state.notify()

    def close(self) -> bool:
        """Writes what waits and closes the file; False: the disk refuses, so the file stays open and is tried again."""
        with self._state:
            if self._closed:
                return True
            if self._moving is not None:
                self._waiting.append(self._moving)
                self._moving = None
            self._hand_over()
        self._sync()
        with self._state:
            if self._waiting:
                return False
        self._end_thread()
        return True

    def drop(self) -> None:
        """Closes the file and deletes it, whatever waits."""
        self._end_thread()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _end_thread(self) -> None:
        with self._state:
            if self._closed:
                return
            self._closed = True
            self._state.notify()
        self._thread.join()
        with suppress(OSError):
            os.close(self._descriptor)

    # --- with the lock held ----------------------------------------------------------------------

    def _refuse_if_closed(self) -> None:
        if self._closed:  # the descriptor's number may belong to another file by now
            raise ValueError("the file of records was closed")

    def _hand_over(self) -> None:
        """Writes everything that waits, from where the file is whole."""
        self._tried = time.monotonic()
        try:
            if self._gone:
                self._begin_again()
            for record in list(self._waiting)[self._handed :]:
                write_at(self._descriptor, record.data, self._end)
                self._end += len(record.data)
                self._handed += 1
        except OSError as error:
            self._trouble = error

    def _hand_over_moving(self) -> None:
        if self._moving is not None and self._trouble is None and time.monotonic() - self._moved >= self._interval:
            self._waiting.append(self._moving)
            self._moving, self._moved = None, time.monotonic()
            self._hand_over()

    def _begin_again(self) -> None:
        """Makes the file anew after somebody has deleted it."""
        new = self._made()
        os.dup2(new, self._descriptor, inheritable=False)  # the thread may be using the number
        os.close(new)
        self._gone = False

    def _made(self) -> int:
        descriptor = create(self.path, self._mode)
        lock(descriptor)
        return descriptor

    # --- the thread ------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._state:
                while not self._closed and (pause := self._pause()) != 0:
                    self._state.wait(pause)
                if self._closed:
                    return
                if self._trouble is not None:
                    self._hand_over()
                self._hand_over_moving()
            self._sync()

    def _pause(self) -> Seconds | None:
        """Seconds until there is something to do; None: until somebody adds something."""
        if self._trouble is not None:
            return max(0.0, self._tried + self._interval - time.monotonic())
        if self._handed:
            return 0.0
        if self._moving is not None:
            return max(0.0, self._moved + self._interval - time.monotonic())
        return None

    def _sync(self) -> None:
        """Brings what was handed over to the disk; an SD card may take seconds, and nobody waits for it meanwhile."""
        with self._syncing:
            with self._state:
                count, end = self._handed, self._end
            if not count:
                return
            failed: OSError | None = None
            gone = False
            try:
                os.fsync(self._descriptor)
                gone = os.fstat(self._descriptor).st_nlink == 0 and not self.path.exists()
            except OSError as error:
                failed = error
            with self._state:
                if failed is not None or gone:
                    self._trouble = failed or OSError(errno.ENOENT, "the file was deleted")
                    self._tried, self._gone = time.monotonic(), gone
                    self._sure = 0 if gone else self._sure
                    self._handed, self._end = 0, self._sure
                    return
                for _ in range(count):
                    self._waiting.popleft()
                self._handed -= count
                self._sure = end
                if self._handed == len(self._waiting):
                    self._trouble = None


def _encoded(record: dict[str, Any], text: str) -> _Record:
    # a lone surrogate, as of an edit in a terminal of another encoding, becomes its JSON escape
    return _Record((json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"), text)


def lock(descriptor: int) -> bool:
    """Marks a file as being written, until its descriptor is closed; False where it is already.

    Windows has no such lock, and refuses to delete an open file by itself.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
