"""Facts of this machine as the system tells them: texts of files and answers of tools, not yet interpreted.

The checks are pure functions of `Facts`, so that tests give them what other machines told.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TOOL_TIMEOUT = 5.0  # seconds
SOCKET_TIMEOUT = 0.5
FILES = (
    "proc/cpuinfo",
    "proc/meminfo",
    "proc/device-tree/model",
    "sys/class/thermal/thermal_zone*/type",
    "sys/class/thermal/thermal_zone*/temp",
    "sys/devices/platform/soc/soc:firmware/get_throttled",
    "sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
    "sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq",
    "sys/devices/system/cpu/cpu*/cpufreq/scaling_max_freq",
    "sys/devices/system/cpu/cpu*/cpufreq/cpuinfo_max_freq",
)


@dataclass(frozen=True)
class SoundFacts:
    """Who may record, and through what.

    captures: device nodes of ALSA that capture; readable: those of them that this user may open.
    groups: names of this process's groups. servers: sound servers whose socket answers.
    """

    captures: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What the system tells; a file that is not there or not readable is left out.

    files: path -> text. throttled: the output of `vcgencmd get_throttled`, None: no such tool.
    system, kernel, architecture: as `uname` tells them. bits: of this Python. usable: processors that this process
    may use, None: not known. disk: free bytes where sessions are kept, None: not known.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    throttled: str | None = None
    system: str = ""
    kernel: str = ""
    architecture: str = ""
    bits: int = 64
    usable: int | None = None
    disk: int | None = None
    sound: SoundFacts = field(default_factory=SoundFacts)

    def text(self, path: str) -> str | None:
        """The text of a file without blanks and zero bytes at its ends; None: not there."""
        found = self.files.get(path)
        return None if found is None else found.strip(" \t\n\0")


def read(data_folder: Path) -> Facts:
    """The facts of this machine now.

    Args:
        data_folder: where sessions are kept; it need not exist yet.
    """
    name = platform.uname()
    return Facts(
        files=read_files(Path("/")),
        throttled=_output("vcgencmd", "get_throttled"),
        system=name.system,
        kernel=name.release,
        architecture=name.machine,
        bits=64 if sys.maxsize > 2**32 else 32,
        usable=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        disk=_free(data_folder),
        sound=_sound(Path("/dev/snd"), os.environ),
    )


def read_files(root: Path, patterns: Sequence[str] = FILES) -> dict[str, str]:
    """The texts of the files under `root` that `patterns` name, by their path without `root`."""
    found = {}
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            try:
                found["/" + str(path.relative_to(root))] = path.read_text(errors="replace")
            except OSError:  # not for this user, or the sensor is off
                continue
    return found


def _output(*command: str) -> str | None:
    """What a tool prints; None: it is not there, fails, or does not end."""
    if shutil.which(command[0]) is None:
        return None
    try:
        run = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TOOL_TIMEOUT, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout


def _free(folder: Path) -> int | None:
    """Free bytes of the disk that `folder` would be made on."""
    existing = next((path for path in (folder, *folder.parents) if path.exists()), None)
    try:
        return None if existing is None else shutil.disk_usage(existing).free
    except OSError:
        return None


def _sound(nodes: Path, environ: Mapping[str, str]) -> SoundFacts:
    captures = sorted(map(str, nodes.glob("pcmC*D*c")))
    return SoundFacts(
        tuple(captures),
        tuple(node for node in captures if os.access(node, os.R_OK | os.W_OK)),
        _groups(),
        tuple(name for name, path in _sockets(environ) if _answers(path)),
    )


def _groups() -> tuple[str, ...]:
    """Names of this process's groups; a group without a name by its number; none where the system has no groups."""
    if sys.platform == "win32":
        return ()
    import grp

    names = []
    for number in {os.getegid(), *os.getgroups()}:
        try:
            names.append(grp.getgrgid(number).gr_name)
        except KeyError:
            names.append(str(number))
    return tuple(sorted(names))


def _sockets(environ: Mapping[str, str]) -> list[tuple[str, Path]]:
    """(name, socket) of each sound server that may run for this user."""
    found: list[tuple[str, Path]] = []
    if not hasattr(socket, "AF_UNIX"):
        return found
    server = environ.get("PULSE_SERVER", "")
    if server.startswith(("unix:", "/")):
        found.append(("PulseAudio", Path(server.removeprefix("unix:"))))
    folder = environ.get("XDG_RUNTIME_DIR")
    if folder:
        found.append(("PipeWire", Path(folder) / "pipewire-0"))
        found.append(("PulseAudio", Path(folder) / "pulse" / "native"))
    return list(dict.fromkeys(found))


def _answers(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(SOCKET_TIMEOUT)
            connection.connect(str(path))
    except OSError:
        return False
    return True
