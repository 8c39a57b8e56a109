"""A process behind a pipe: its answers, its end, and that nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from device_asr.child import Answer, Child, Died
from device_asr.errors import BundleError


def doubling() -> tuple[object, Answer]:
    return "ready", lambda number: number * 2


def slow() -> tuple[object, Answer]:
    time.sleep(60)
    return doubling()


def refusing() -> tuple[object, Answer]:
    raise BundleError("no bundle")


def exiting() -> tuple[object, Answer]:
    os._exit(3)


def gone(pid: int | None) -> bool:
    """Not even a zombie."""
    return pid is not None and not psutil.pid_exists(pid)


def test_answers_come_in_order_and_an_error_of_the_work_is_its_end() -> None:
    child = Child("doubling", doubling)
    assert child.receive() == "ready"
    child.send(21)
    child.send(4)
    assert (child.receive(), child.receive()) == (42, 8)
    assert not child.ready()
    child.send(None)
    with pytest.raises(Died, match=r"failed: TypeError: unsupported operand"):
        child.receive()
    assert gone(child.pid)
    with pytest.raises(Died):
        child.send(1)
    child.close()


def test_nothing_of_the_current_folder_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("re", "runpy", "pickle", "socket"):  # which a process imports while it starts
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the current folder')")
    monkeypatch.chdir(tmp_path)
    child = Child("doubling", doubling)
    assert child.receive() == "ready"
    child.close()


@pytest.mark.parametrize(
    ("make", "error", "sentence"), [(refusing, BundleError, "no bundle"), (exiting, Died, "exited with 3")]
)
def test_what_ends_the_beginning(
    make: Callable[[], tuple[object, Answer]], error: type[Exception], sentence: str
) -> None:
    child = Child("never", make)
    assert child.ready(20)
    with pytest.raises(error, match=sentence):
        child.receive()
    assert gone(child.pid)


def test_a_process_that_still_loads_is_closed_at_once() -> None:
    child = Child("slow", slow)
    began = time.monotonic()
    child.close()
    assert time.monotonic() - began < 30 and gone(child.pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_the_signals_of_a_terminal_do_not_reach_it_even_while_it_starts(number: signal.Signals) -> None:
    child = Child("doubling", doubling)
    os.kill(child.pid or 0, number)
    assert child.receive() == "ready"
    os.kill(child.pid or 0, number)
    child.send(2)
    assert child.receive() == 4
    child.close()


def test_it_ends_with_its_parent() -> None:
    script = (
        "from device_asr.child import Child\nfrom tests.device_asr.test_child import doubling\nimport time\n"
        "if __name__ == '__main__':\n"
        "    child = Child('doubling', doubling); child.receive(); print(child.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        process = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    assert psutil.wait_procs([process], 5)[1] == []
