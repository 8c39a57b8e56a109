"""Measures bundles on this machine, by the runtime's benchmark in a process of its own, and makes its profile."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from compress.evaluate.measurement import Measurement, bench_figures
from compress.paths import LETTER
from compress.search.device_profile import DeviceProfile
from device_asr.bundle import bundle as bundles
from device_asr.config import ENVIRONMENT_PREFIX
from device_asr.errors import DeviceAsrError, UsageError

# a new profile's budgets / what the shipped bundle took: room for other recordings and a busier hour
HEADROOM = 1.25


def bench(model: str, manifest: Path, threads: int, limit: int | None = None) -> dict[str, Any]:
    """The record of `device-asr bench` (see device_asr/bench/report.py) with default settings.

    The benchmark runs in a process of its own, so that its peak memory is the recognizer's alone. Neither a person's
    config file nor their environment changes the figures.

    Raises:
        DeviceAsrError: the benchmark failed; the message is its own sentence.
    """
    command = [
        sys.executable,
        "-m",
        "device_asr.cli",
        "bench",
        str(manifest),
        "--json",
        "--config",
        os.devnull,
        "--model",
        model,
        "--threads",
        str(threads),
        *(["--limit", str(limit)] if limit else []),
    ]
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(ENVIRONMENT_PREFIX) or key == bundles.MODELS_VARIABLE
    }
    run = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**kept, "OMP_NUM_THREADS": str(threads)},
    )
    if run.returncode:
        said = run.stderr.strip().splitlines() or [f"exit code {run.returncode}"]
        raise DeviceAsrError(f"The benchmark of {model} failed: {said[-1].removeprefix('device-asr: ')}")
    return json.loads(run.stdout)


def measured(model: str, manifest: Path, threads: int, limit: int | None = None) -> Measurement:
    """Size, WER, RTF, finalization and memory of a bundle over the clips of one manifest.

    Raises:
        BundleError: no such bundle. DeviceAsrError: the benchmark failed.
    """
    bundle = bundles.load(model, verify=False)
    return Measurement(
        bundle.name,
        bundle=str(bundle.path),
        test_set=manifest.stem,
        parameters=int(bundle.manifest["parameters"]),
        bytes=bundle.size,
        **bench_figures(bench(model, manifest, threads, limit)),
    )


def this_machine(name: str, threads: int = 2, model: str = "en-tiny", audio: Path = LETTER) -> DeviceProfile:
    """This machine as a device, with the budgets that the shipped bundle needs plus a quarter.

    Args:
        audio: a recording of speech; by default the repository's own letter of 29 s.

    Raises:
        UsageError: `name` cannot be a file's name. DeviceAsrError: the audio is missing or without speech, or
            the benchmark failed.
    """
    if not name.strip() or Path(name).name != name:
        raise UsageError(f"Device name: wanted a word such as 'my-laptop', found {name!r}.")
    if not audio.is_file():
        raise DeviceAsrError(
            f"{audio} is missing: wanted an audio file of speech to measure with; run from a checkout of "
            "the repository, or give --audio FILE."
        )
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "audio.jsonl"
        manifest.write_text(json.dumps({"audio": str(audio.resolve())}) + "\n", encoding="utf-8")
        found = measured(model, manifest, threads)
    size, finalization = found.bytes, found.compute_p95
    if size is None or finalization is None or found.rtf is None:
        raise DeviceAsrError(
            f"{audio}: no utterance was recognized, so there is nothing to measure; give an audio file of speech."
        )
    source = (
        f"This machine itself: {processor()}, {os.cpu_count()} cores, {threads} threads. Budgets are what "
        f"{model} took on {audio.name} ({size / 1e6:.1f} MB, RTF {found.rtf:.3f}, finalization p95 "
        f"{1000 * finalization:.0f} ms) times {HEADROOM}."
    )
    memory = found.memory / 2**20 if found.memory else 1024.0
    return DeviceProfile(
        name,
        threads,
        math.ceil(HEADROOM * memory),
        math.ceil(HEADROOM * size / 1e6),
        math.ceil(HEADROOM * 1000 * finalization),
        round(HEADROOM * found.rtf, 4),
        1.0,
        source,
        platform.machine(),
    )


def processor() -> str:
    """The processor's name, as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
