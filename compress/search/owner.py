"""Who works on a trial: processes that share a search leave one another's trials alone while their owner lives.

An owner on this machine is asked for by its process. One on another machine is taken for dead when it has not written
for `SILENT` seconds; it writes every `BEAT` seconds.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psutil

from device_asr.events import Seconds

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

OWNER, SEEN = "owner", "seen"  # attributes of a trial
ASKED: Seconds = 60.0  # from a trial's beginning until it has its owner, at most
BEAT: Seconds = 30.0
SILENT: Seconds = 600.0  # the clocks of the machines may differ by minutes


def owner() -> dict[str, Any]:
    """This process, such that another one with its number is not taken for it."""
    return {"host": platform.node(), "pid": os.getpid(), "began": psutil.Process().create_time()}


def is_alive(trial: FrozenTrial, now: Seconds) -> bool:
    """Whether the owner of a running trial works on it still; one without an owner may have been asked for just now.

    Args:
        now: `time.time()`.
    """
    found = trial.user_attrs.get(OWNER)
    if found is None:
        return trial.datetime_start is not None and now - trial.datetime_start.timestamp() < ASKED
    if found["host"] != platform.node():
        return now - float(trial.user_attrs.get(SEEN, 0.0)) < SILENT
    try:
        process = psutil.Process(found["pid"])
        same = abs(process.create_time() - found["began"]) < 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@contextmanager
def owned(trial: Trial) -> Iterator[None]:
    """Marks the trial as this process's, and goes on telling so until it is over."""
    trial.set_user_attr(OWNER, owner())
    trial.set_user_attr(SEEN, time.time())
    over = threading.Event()

    def tell() -> None:
        while not over.wait(BEAT):
            with suppress(Exception):  # a database that is away for a while; the trial's own calls tell of it
                trial.set_user_attr(SEEN, time.time())

    thread = threading.Thread(target=tell, name="beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
