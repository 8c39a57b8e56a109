"""Runtimes and the process around them: threads, file descriptors, libraries, memory that a call locks."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from device_asr.errors import BundleError
from tests.device_asr.runtime.conftest import Opener, opener
from tests.support.tiny_methods import METHODS, SLOW, WIDTH

LARGE = np.random.default_rng(2).standard_normal((2048, 256)).astype(np.float32)
HEADER = f"""
import sys
import numpy as np
from pathlib import Path
from device_asr.runtime.executorch import ExecutorchSession
from device_asr.runtime.native import NativeSession

METHODS = {METHODS!r}
x = np.linspace(-1, 1, 3 * {WIDTH}, dtype=np.float32).reshape(3, {WIDTH})
"""


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs code in a process of its own, which must end well."""
    done = subprocess.run(
        [sys.executable, "-c", HEADER + code, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done


def test_threads_share_a_session_and_sessions_share_a_process(open_with: Opener, tiny: Path) -> None:
    x = np.linspace(-1, 1, 64 * WIDTH, dtype=np.float32).reshape(64, WIDTH)
    sessions = [open_with(tiny, METHODS) for _ in range(2)]
    wanted = [sessions[0].run("affine", x[: 1 + i])[0] for i in range(64)]
    scaled = sessions[0].run("scaled", x[:3], np.array(2, np.float32), np.array(1))[0]

    def call(i: int) -> None:
        session = sessions[i % 2]
        np.testing.assert_array_equal(session.run("affine", x[: 1 + i % 64])[0], wanted[i % 64])
        found = session.run("scaled", x[:3], np.array(2, np.float32), np.array(1))[0]
        np.testing.assert_array_equal(found, scaled)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call, range(400)))


def test_sessions_are_loaded_and_dropped_beside_runs(open_with: Opener, tiny: Path) -> None:
    session = open_with(tiny, METHODS)
    x = np.ones((3, WIDTH), np.float32)
    wanted = session.run("affine", x)[0]

    def load(_: int) -> None:
        np.testing.assert_array_equal(open_with(tiny, METHODS).run("affine", x)[0], wanted)

    with ThreadPoolExecutor(3) as pool:
        loads = pool.map(load, range(20))
        for _ in range(200):
            np.testing.assert_array_equal(session.run("affine", x)[0], wanted)
        list(loads)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_changes_no_result(open_with: Opener, slow: Path, threads: int) -> None:
    (one,) = open_with(slow, SLOW, None, 1).run("slow", LARGE)
    (found,) = open_with(slow, SLOW, None, threads).run("slow", LARGE)
    np.testing.assert_array_equal(found, one)


def test_loaded_programs_keep_their_threads(tiny: Path) -> None:
    native = opener("native")
    two = native(tiny, METHODS, None, 2)
    one = native(tiny, METHODS, None, 1)  # one thread is none of the pool
    with pytest.raises(BundleError, match="wanted 3 threads, found programs loaded with 2 in this process"):
        native(tiny, METHODS, None, 3)
    x = np.ones((3, WIDTH), np.float32)
    np.testing.assert_array_equal(one.run("affine", x)[0], two.run("affine", x)[0])
    del two
    assert native(tiny, METHODS, None, 3).run("affine", x)


@pytest.mark.serial
def test_other_python_threads_go_on_while_a_method_runs(slow: Path) -> None:
    """A thread that wakes every millisecond: the binding keeps the interpreter's lock and it waits a whole call."""
    session = opener("native")(slow, SLOW)
    session.run("slow", LARGE)
    began = time.perf_counter()
    session.run("slow", LARGE)
    call = time.perf_counter() - began
    stop, beats = threading.Event(), [time.perf_counter()]

    def beat() -> None:
        while not stop.is_set():
            time.sleep(0.001)
            beats.append(time.perf_counter())

    thread = threading.Thread(target=beat)
    thread.start()
    for _ in range(10):
        session.run("slow", LARGE)
    stop.set()
    thread.join()
    # other processes may take the processor for some milliseconds: most beats must come in time, not every one
    waits = np.diff(beats)
    assert call > 0.004
    assert np.quantile(waits, 0.9) < 0.5 * call
    assert len(waits) > 10 * call / 0.01


@pytest.mark.parametrize("order", ["NativeSession ExecutorchSession", "ExecutorchSession NativeSession"])
def test_both_runtimes_live_in_one_process(tiny: Path, order: str) -> None:
    """They load libraries of the same wheel; each keeps those that it was linked to, in either order."""
    pytest.importorskip("executorch")
    opener("native")
    code = """
path = Path(sys.argv[1])
sessions = [globals()[name](path, METHODS) for name in sys.argv[2].split()]
for _ in range(3):
    first, second = (session.run("affine", x) for session in sessions)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
libraries = {Path(line.split()[-1]).name for line in open("/proc/self/maps") if "lib" in line}
assert {"libexecutorch.so", "libdevice_asr.so"} <= libraries, libraries
"""
    python(code, tiny, order)


def test_a_program_is_exported_and_run_in_one_process(tmp_path: Path) -> None:
    """What the offline stage does: the exporter brings ExecuTorch's own libraries, then the module runs."""
    pytest.importorskip("torchao", reason="exports a program: wants the offline stage")
    opener("native")
    code = """
from tests.support.tiny_programs import export_tiny
path = Path(sys.argv[1])
path.write_bytes(export_tiny())
ours, theirs = NativeSession(path, METHODS).run("affine", x), ExecutorchSession(path, METHODS).run("affine", x)
path.write_bytes(export_tiny())
assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
"""
    python(code, tmp_path / "tiny.pte")


@pytest.mark.parametrize("name", ["NativeSession", "ExecutorchSession"])
def test_nothing_is_written_to_standard_error(tiny: Path, name: str) -> None:
    opener("native" if name == "NativeSession" else "executorch")
    code = """
globals()[sys.argv[2]](Path(sys.argv[1]), METHODS, None, 2).run("affine", x)
"""
    done = python(code, tiny, name)
    assert (done.stdout, done.stderr) == ("", "")


def test_the_native_runtime_writes_nothing_when_it_refuses(tiny: Path) -> None:
    opener("native")
    code = """
from device_asr.errors import BundleError
session = NativeSession(Path(sys.argv[1]), METHODS)
for refused in (x.astype(np.float64), x[:, :4].copy()):
    try:
        session.run("affine", refused)
    except BundleError:
        continue
    sys.exit("was not refused")
"""
    done = python(code, tiny)
    assert (done.stdout, done.stderr) == ("", "")


def test_the_native_runtime_imports_neither_torch_nor_executorch(tiny: Path) -> None:
    opener("native")
    code = """
NativeSession(Path(sys.argv[1]), METHODS).run("affine", x)
assert not {"torch", "executorch"} & set(sys.modules)
"""
    python(code, tiny)
