"""A process that forks one child for every input, so that the product is imported once; run as a script.

It imports nothing of the tests: the product may be another checkout, see `tests.campaign.runner`. It reads one JSON
job a line from standard input and writes one JSON ending a line. A child has its own folder, environment and limits of
memory, processor time and file sizes, and runs the product's own `main`.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import resource
import select
import signal
import sys
import time
import traceback

LOOK = 1.0  # seconds between two looks at a child

MODULES = {
    "device": (
        "device_asr.cli",
        "device_asr.commands.bench",
        "device_asr.commands.config",
        "device_asr.commands.history",
        "device_asr.commands.models",
        "device_asr.commands.transcribe",
        "device_asr.recognition.assemble",
        "device_asr.audio.file",
        "device_asr.audio.stdin",
        "device_asr.runtime.choice",
        "device_asr.dictation.history",
        "platformdirs",
        "soundfile",
        "soxr",
    ),
    "compress": (
        "compress.cli",
        "compress.checkpoints.load",
        "compress.networks.whisper.family",
        "compress.networks.moonshine.family",
        "compress.commands.build",
        "compress.commands.evaluate",
        "compress.recipe.recipe",
        "compress.report.ablation",
        "compress.search.device_profile",
        "onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession",
    ),
}


def checkpoint(path: str) -> None:
    """Reads a checkpoint and makes its network."""
    from compress.checkpoints.load import load_checkpoint

    found = load_checkpoint(path)
    found.network()
    print(f"{found.family}: {found.parameters} weights, {found.vocabulary.size} tokens, {len(found.key())}")


def recipe(path: str) -> None:
    """Reads a recipe."""
    from pathlib import Path

    from compress.recipe.recipe import read_recipe

    print(read_recipe(Path(path)).name)


def ablation(path: str) -> None:
    """Reads an ablation of the shipped recipe."""
    from pathlib import Path

    from compress.paths import RECIPES
    from compress.recipe.recipe import read_recipe
    from compress.report.ablation import read_ablation

    print(read_ablation(Path(path), read_recipe(RECIPES / "en-tiny.toml")).name)


def profile(path: str) -> None:
    """Reads a device profile."""
    from compress.search import device_profile

    print(device_profile.load(path).name)


def manifest(path: str) -> None:
    """Reads a manifest of clips."""
    from pathlib import Path

    from device_asr.metrics.clips import check_clips, read_manifest

    clips = read_manifest(Path(path))
    print(f"{len(clips)} clips, {check_clips(clips)}")


READERS = {f.__name__: f for f in (checkpoint, recipe, ablation, profile, manifest)}


def run(program: str, arguments: list[str]) -> int:
    """Calls the product as its command does; returns the exit code."""
    if program == "device-asr":
        from device_asr.cli import main

        sys.argv = [program, *arguments]
        main()
        return 0
    from compress import cli

    if program != "device-asr-compress":
        reader = READERS[program]

        @cli.group.command(program)
        @importlib.import_module("click").argument("path")
        def read(path: str) -> None:
            reader(path)

        cli.VERBS[program] = ""
        cli.LazyGroup.get_command = importlib.import_module("click").Group.get_command
        arguments = [program, "--", *arguments]
    sys.argv = ["device-asr-compress", *arguments]
    cli.main()
    return 0


def child(job: dict) -> None:
    """Runs one job in this process, which ends."""
    os.setsid()
    os.chdir(job["cwd"])
    os.environ.update(job.get("env", {}))
    for number, key, flags in (
        (0, "stdin", os.O_RDONLY),
        (1, "stdout", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        os.dup2(os.open(job[key], flags, 0o600), number)
    for kind, limit in (
        (resource.RLIMIT_AS, job["memory"] + virtual()),
        (resource.RLIMIT_CPU, job["cpu"]),
        (resource.RLIMIT_FSIZE, job["file"]),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit + 5))  # SIGXCPU at the first, SIGKILL at the second
    code = 1
    try:
        code = run(job["program"], job["arguments"])
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    try:
        atexit._run_exitfuncs()
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        code = 120
    try:
        sys.stderr.flush()
    finally:
        os._exit(code)


def virtual() -> int:
    """Bytes of address space of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def waits(pid: int) -> tuple[int, bool]:
    """Ticks of the processor that a process has used, and whether all its threads sleep and it has no children."""
    ticks, asleep = 0, True
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with (
                open(f"/proc/{pid}/task/{thread}/stat") as stat,
                open(f"/proc/{pid}/task/{thread}/children") as children,
            ):
                fields = stat.read().rsplit(")", 1)[1].split()
                ticks += int(fields[11]) + int(fields[12])
                asleep = asleep and fields[0] == "S" and not children.read().strip()
    except OSError:  # a thread has just ended
        return -1, False
    return ticks, asleep


def ended(pid: int, seconds: float, most_idle: float) -> tuple[bool, int, resource.struct_rusage]:
    """Waits for a child and ends its group; whether its time was up, its status and its use."""
    handle, end, idle, before = os.pidfd_open(pid), time.monotonic() + seconds, 0, -1
    late = False
    while not late and not select.select([handle], [], [], LOOK)[0]:
        now, asleep = waits(pid)
        idle = idle + 1 if now == before and asleep else 0  # not where it is ready and others have the processor
        before = now
        late = time.monotonic() > end or idle * LOOK >= most_idle
    os.close(handle)
    try:
        os.killpg(pid, signal.SIGKILL)  # also what it left behind; the child itself where it is late
    except ProcessLookupError:
        if late:
            os.kill(pid, signal.SIGKILL)
    _, status, used = os.wait4(pid, 0)
    return late, status, used


def main(product: str) -> None:
    """Serves jobs until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in MODULES[product]:
        importlib.import_module(name)
    if product == "device":
        sys.modules["device_asr.runtime.choice"].runtime()
    jobs = os.fdopen(os.dup(0), "r")
    answers.write(json.dumps({"ready": virtual()}) + "\n")
    answers.flush()
    for line in jobs:
        job = json.loads(line)
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            jobs.close()
            answers.close()
            child(job)
        late, status, used = ended(pid, job["wall"], job["idle"])
        answer = {
            "late": late,
            "code": os.waitstatus_to_exitcode(status),
            "cpu": used.ru_utime + used.ru_stime,
            "wall": time.monotonic() - began,
            "peak": used.ru_maxrss * 1024,
        }
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
