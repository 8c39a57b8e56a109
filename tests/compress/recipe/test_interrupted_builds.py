"""A full disk and a kill leave nothing that seems whole, and the same command goes on."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.export.export import SpeechProgram
from compress.networks.checkpoint import Checkpoint
from compress.recipe.build import build
from compress.recipe.bundle import write_bundle
from compress.recipe.recipe import Recipe, read_recipe
from device_asr.errors import OutputError
from tests.support.builds import TRAINING, Run, assert_told, build_of, recipe
from tests.support.paths import ROOT


@contextmanager
def full_disk(size: int = 60_000) -> Iterator[None]:
    """Files end at `size` bytes: the kernel refuses what a full disk would, with another number.

    Ended before the test is, or the runner could not write its own output to a file either.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"do": "heads", "heads": 1}, "weights.safetensors cannot be written"),
        ({**TRAINING, "save_every": 1e-6}, "state.pt cannot be written"),
    ],
)
def test_a_full_disk(place: Path, run: Run, table: dict[str, Any], said: str) -> None:
    path = recipe(place, table)
    with full_disk():
        told = run(*build_of(place, path))
    assert_told(place, told, 1, said)
    assert "make room and run again" in told[1]
    assert not list((place / "work").rglob("*.partial")) and not list((place / "work").rglob("*.safetensors"))


@pytest.mark.parametrize("size", [2_000, 60_000])  # in the program, in the base after it
def test_a_bundle_that_does_not_fit_leaves_nothing_and_the_former_one(
    tiny: Checkpoint, tmp_path: Path, size: int
) -> None:
    speech, path = SpeechProgram(b"x" * 50_000, {}, {}, {}), tmp_path / "models" / "tiny"
    made = Recipe("tiny", "nowhere", base=True)
    write_bundle(made, tiny, speech, b"vad", path)
    before = {file: file.read_bytes() for file in path.parent.rglob("*") if file.is_file()}
    assert {file.name for file in before} >= {"tiny.base.safetensors", "model.pte", "manifest.json"}
    with full_disk(size), pytest.raises(OutputError, match=r"tiny\S* cannot be written .*make room and run again"):
        write_bundle(made, tiny, speech, b"vad", path)
    assert {file: file.read_bytes() for file in path.parent.rglob("*") if file.is_file()} == before


def test_a_build_that_is_killed_goes_on(place: Path, run: Run) -> None:
    """SIGKILL in mid-training leaves no stage that seems whole; the same command goes on after the last saved step."""
    path = recipe(place, {"do": "heads", "heads": 1}, {**TRAINING, "epochs": 1000, "save_every": 1e-6})
    command = [sys.executable, "-c", "from compress.cli import main; main()", *map(str, build_of(place, path))]
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as running:
        deadline = time.monotonic() + 240
        while not any(len(file.read_bytes().splitlines()) > 3 for file in place.glob("work/distill-*/metrics.jsonl")):
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(running.pid, signal.SIGKILL)
    (folder,) = (place / "work").glob("distill-*")
    assert not (folder / "checkpoint.json").exists() and not (place / "out").exists()
    step = torch.load(folder / "state.pt", weights_only=True)["step"]
    before = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)[:step]

    steps: list[int] = []

    class Enough(Exception):
        pass

    def stop(stage: str, fraction: float | None, note: str) -> None:
        if stage == "distill" and fraction:
            steps.append(round(fraction * 3000))
            if len(steps) == 2:
                raise Enough

    with pytest.raises(Enough):
        build(read_recipe(path), place / "out", place / "work", place / "corpus", None, stop)
    assert steps == [step + 1, step + 2] and step > 1
    assert (folder / "metrics.jsonl").read_text().startswith("".join(before))
