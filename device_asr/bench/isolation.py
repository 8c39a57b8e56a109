"""What the recognizer's own process costs in memory: the interface's process with it, and with the recognizer inside.

    python -m device_asr.bench.isolation assets/letter.flac

Each way is run in a new process, which recognizes the file with partials as fast as it can. Linux only.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import psutil

from device_asr.audio.file import FileSource
from device_asr.config import Config
from device_asr.config import load as load_config
from device_asr.dictation import remote
from device_asr.recognition.assemble import assemble

WAYS = ("apart", "inside")


def measured(way: str, audio: Path) -> dict[str, list[int]]:
    """Bytes of the memory of this process and its recognizer: `uss`, theirs alone, and `pss`, shared pages divided."""
    importlib.import_module("device_asr.tui.app")  # both ways have the interface
    config: Config = load_config().config
    recognizer = remote.load(config) if way == "apart" else assemble(config)
    for chunk in FileSource(audio):
        recognizer.feed(chunk.pcm)
    recognizer.finish()
    this = psutil.Process()
    found = [this, *(p for p in this.children() if "spawn_main" in " ".join(p.cmdline()))]
    memory = [process.memory_full_info() for process in found]
    if isinstance(recognizer, remote.RemoteRecognizer):
        recognizer.close()
    return {"uss": [one.uss for one in memory], "pss": [one.pss for one in memory]}


def table(found: dict[str, dict[str, list[int]]]) -> str:
    """The figures in MB, one way a line: each process, and the sum."""
    lines = []
    for way, memory in found.items():
        parts = [f"{kind} {' + '.join(f'{one / 1e6:.1f}' for one in ones)} MB" for kind, ones in memory.items()]
        lines.append(f"{way:<8}" + "   ".join(parts))
    apart, inside = found["apart"], found["inside"]
    costs = (f"{kind} {(sum(apart[kind]) - sum(inside[kind])) / 1e6:.1f} MB" for kind in inside)
    return "\n".join([*lines, f"{'cost':<8}" + "   ".join(costs)])


def run(audio: Path) -> None:
    """Measures both ways, and prints the table."""
    found = {}
    for way in WAYS:
        command = [sys.executable, "-m", "device_asr.bench.isolation", str(audio), way]
        found[way] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(table(found))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(measured(sys.argv[2], Path(sys.argv[1]))))
    else:
        run(Path(sys.argv[1]))
