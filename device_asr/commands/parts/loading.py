"""Loads a model's programs in a process of their own: damaged bytes may end the process that loads them."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from device_asr.errors import BundleError, DeviceAsrError

LONGEST = 120.0  # seconds; en-tiny takes less than one, and ExecuTorch's own binding 4 on a busy machine


def check_program(bundle: Path, program: str) -> None:
    """Loads a program of a bundle as a verb would.

    Raises:
        BundleError: it does not load, or it ends the process that loads it.
    """
    in_a_process(load_program, bundle, program)


def load_program(bundle: Path, program: str) -> None:
    """Loads a program of a bundle in this process; see `check_program`."""
    from device_asr.bundle.bundle import load

    load(bundle, verify=False).session(program, 1)


def in_a_process(call: Callable[[Path, str], None], bundle: Path, program: str) -> None:
    """Runs `call(bundle, program)` in a process of its own; see `check_program`.

    Args:
        call: a function of a module: it is pickled.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(theirs, call, bundle, program), daemon=True)
    process.start()
    theirs.close()
    label = f"{bundle}: the program {program!r}"
    try:
        problem = (
            ours.recv() if ours.poll(LONGEST) else f"{bundle}: the program {program!r} takes more than {LONGEST} s"
        )
    except EOFError:  # it ended without a word
        process.join()
        problem = (
            f"{label} crashes when loaded ({_ending(process.exitcode)}). It is damaged, or "
            "was made for another ExecuTorch, although its size and sha256 are those of the manifest: do not use the "
            "model, build or copy it again."
        )
    finally:
        process.kill()
        process.join()
    if problem:
        raise BundleError(problem)


def _report(connection: Connection, call: Callable[[Path, str], None], bundle: Path, program: str) -> None:
    try:
        call(bundle, program)
        connection.send(None)
    except DeviceAsrError as error:
        connection.send(str(error))


def _ending(code: int | None) -> str:
    """How a process ended, e.g. SIGSEGV."""
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"
