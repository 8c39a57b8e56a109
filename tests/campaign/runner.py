"""Runs cases in children of `tests.campaign.worker`, which imports the product from a folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.campaign.case import HERE, Case, Ending, Limits
from tests.campaign.edits import prepare
from tests.campaign.kinds import FAULTS, faults
from tests.support.paths import ROOT

WORKER = Path(__file__).with_name("worker.py")
DEVICE = "device-asr"
MOST_SAID = 1 << 20  # bytes of output that are read
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Worker:
    """One worker of the product's half "device" or "compress"; used by one thread. A context manager."""

    def __init__(self, half: str, product: Path = ROOT) -> None:
        env = {**os.environ, **THREADS, "PYTHONPATH": str(product), "PYTHONIOENCODING": "utf-8:surrogateescape"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(WORKER), half],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env,
            cwd=product,
            text=True,
        )
        self._answer()  # it has imported the product

    def run(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """The ending of a job."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the campaign's worker ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(30)


class Runner:
    """Runs cases one after another, of both halves; its workers start when they are first needed."""

    def __init__(self, bases: Path, scratch: Path, product: Path = ROOT, limits: Limits | None = None) -> None:
        self._bases, self._scratch, self._product = bases, scratch, product
        self._limits = limits or Limits()
        self._workers: dict[str, Worker] = {}
        self._count = 0

    def run(self, case: Case) -> Ending:
        """Makes the case's folder, runs the product over it, and removes it."""
        self._count += 1
        folder = self._scratch / f"case-{self._count}"
        here = folder / "files"
        try:
            if case.kind == FAULTS:
                return faults.run(case, folder, self._product)
            prepare(self._bases / case.base if case.base else None, list(case.edits), here)
            return self._run(case, folder, here)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _run(self, case: Case, folder: Path, here: Path) -> Ending:
        out, err, limits = folder / "out", folder / "err", self._limits
        home = {"HOME": folder, "XDG_CONFIG_HOME": folder / "config", "XDG_DATA_HOME": folder / "data"}
        answer = self._worker("device" if case.program == DEVICE else "compress").run(
            {
                "program": case.program,
                "arguments": [argument.replace(HERE, str(here)) for argument in case.arguments],
                "cwd": str(here),
                "env": {key: str(value).replace(HERE, str(here)) for key, value in {**home, **case.env}.items()},
                "stdin": "/dev/null" if case.standard == "nothing" else str(here / case.standard),
                "stdout": str(out),
                "stderr": str(err),
                "memory": limits.memory,
                "cpu": limits.cpu,
                "wall": limits.wall,
                "idle": limits.idle,
                "file": limits.file,
            }
        )
        return Ending(answer["code"], answer["late"], answer["cpu"], answer["peak"], _said(out), _said(err))

    def _worker(self, half: str) -> Worker:
        if half not in self._workers:
            self._workers[half] = Worker(half, self._product)
        return self._workers[half]

    def close(self) -> None:
        """Ends the workers."""
        for worker in self._workers.values():
            worker.__exit__()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _said(path: Path) -> str:
    if not path.exists():
        return ""
    with path.open("rb") as file:
        return file.read(MOST_SAID).decode("utf-8", "replace")
