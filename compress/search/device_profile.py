"""Device profiles: the budgets of a model, and how fast the device is beside the machine that measures.

Budgets: `size_mb` (10^6 bytes of the bundle), `memory_mb` (2^20 bytes, peak of the whole process),
`finalization_ms` (p95 of the computation between the end of the hang-over and the Final; the hang-over
itself is a setting, the same on every device), `rtf` (all computation, voice activity and partials too).
Times measured here are multiplied by `speed_factor` before they are compared.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from compress.evaluate.measurement import Measurement
from compress.paths import DEVICES
from compress.settings import read_table
from device_asr.errors import OutputError, UsageError
from device_asr.files import write_whole


@dataclass(frozen=True)
class DeviceProfile:
    """One device.

    threads: of the recognizer, on the device and where it is measured. speed_factor: the device's time /
    the time of the same work on the measuring machine. fastest, slowest: between which that factor lies, as far as
    its sources tell; 0: not known. source: where the factor comes from.
    machine: the device's architecture, as `uname -m` prints it; empty: not known, so nothing is deployed to it.
    processor: what QEMU calls its processor (`qemu-aarch64 -cpu help`); empty: it is not emulated.

    Raises:
        UsageError: a value of the wrong type, or not above 0.
    """

    name: str
    threads: int
    memory_mb: float
    size_mb: float
    finalization_ms: float
    rtf: float
    speed_factor: float
    source: str
    machine: str = ""
    processor: str = ""
    fastest: float = 0.0
    slowest: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, where = getattr(self, field.name), f"Device {self.name!r}, {field.name}"
            if field.type == "str":
                if not isinstance(value, str) or (field.default is MISSING and not value.strip()):
                    raise UsageError(f"{where}: wanted a text, found {value!r}.")
            elif value == field.default and not isinstance(value, bool):
                continue  # not known
            elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise UsageError(f"{where}: wanted a number above 0, found {value!r}.")
            elif field.type == "int" and value != int(value):
                raise UsageError(f"{where}: wanted a whole number, found {value!r}.")
        if self.fastest > self.speed_factor or (self.slowest and self.slowest < self.speed_factor):
            raise UsageError(
                f"Device {self.name!r}: wanted fastest <= speed_factor <= slowest, found {self.fastest:g}, "
                f"{self.speed_factor:g} and {self.slowest:g}."
            )

    @property
    def factor(self) -> str:
        """The speed factor for a person, with its range where that is known: `16 (12 to 22)`."""
        span = f" ({self.fastest:g} to {self.slowest:g})" if self.fastest and self.slowest else ""
        return f"{self.speed_factor:g}{span}"


@dataclass(frozen=True)
class Miss:
    """A budget that does not hold: `found` and `allowed` in `unit`, on the device."""

    budget: str
    found: float
    allowed: float
    unit: str

    @property
    def excess(self) -> float:
        """0.25 for a quarter too much."""
        return self.found / self.allowed - 1

    def __str__(self) -> str:
        return f"{self.budget} {self.found:.3g}{self.unit} instead of {self.allowed:.3g}{self.unit}"


def misses(measured: Measurement, device: DeviceProfile) -> tuple[Miss, ...]:
    """The budgets that `measured`, scaled to the device, exceeds; what was not measured exceeds none."""
    found = (
        ("size", measured.bytes, 1e-6, device.size_mb, " MB"),
        ("memory", measured.memory, 1 / 2**20, device.memory_mb, " MiB"),
        ("finalization", measured.compute_p95, 1000 * device.speed_factor, device.finalization_ms, " ms"),
        ("RTF", measured.rtf, device.speed_factor, device.rtf, ""),
    )
    return tuple(
        Miss(name, value * scale, allowed, unit)
        for name, value, scale, allowed, unit in found
        if value is not None and value * scale > allowed
    )


def shipped() -> dict[str, Path]:
    """Name -> file of every profile in the package."""
    return {path.stem: path for path in sorted(DEVICES.glob("*.toml"))}


def load(name_or_path: str) -> DeviceProfile:
    """A profile by name, or from a .toml file.

    Raises:
        UsageError: no such profile, unreadable, unknown or missing keys, a bad value.
    """
    known = shipped()
    path = known.get(name_or_path, Path(name_or_path))
    if name_or_path not in known and path.suffix != ".toml":
        near = difflib.get_close_matches(name_or_path, known, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UsageError(
            f"No device {name_or_path!r}: wanted one of {', '.join(known)}, or a .toml file that "
            f"`device-asr-compress profile --new NAME` wrote.{hint}"
        )
    if not path.exists():
        raise UsageError(
            f"Device file {path} does not exist; `device-asr-compress profile --new NAME --out {path}` "
            "measures this machine and writes one."
        )
    return from_table(read_table(path, "Device file"), str(path))


def from_table(values: Mapping[str, Any], where: str) -> DeviceProfile:
    """A profile from a table that has every field that is needed, and none that is unknown.

    Raises:
        UsageError: a key is unknown (the nearest is named) or missing, or a value is bad.
    """
    wanted = [field.name for field in fields(DeviceProfile)]
    needed = [field.name for field in fields(DeviceProfile) if field.default is MISSING]
    for key in values:
        if key not in wanted:
            near = difflib.get_close_matches(key, wanted, 1, cutoff=0.0)[0]
            raise UsageError(f"{where}: unknown key {key!r}; the nearest valid name is {near!r}.")
    missing = [key for key in needed if key not in values]
    if missing:
        raise UsageError(f"{where}: wanted the key {missing[0]!r}, found {', '.join(values) or 'nothing'}.")
    return DeviceProfile(**values)


def to_toml(device: DeviceProfile) -> str:
    """The profile as a file that `load` reads."""
    units = {
        "threads": "of the recognizer",
        "memory_mb": "MiB, peak of the process",
        "size_mb": "MB of the bundle",
        "finalization_ms": "p95 of the computation, without the hang-over",
        "rtf": "all computation",
        "speed_factor": "the device's time / the measuring machine's",
        "fastest": "of the factor; 0: not known",
        "slowest": "of the factor; 0: not known",
    }
    lines = []
    for field in fields(device):
        # a JSON text is a TOML basic string, and JSON's numbers are TOML's
        line = f"{field.name} = {json.dumps(getattr(device, field.name), ensure_ascii=False)}"
        lines.append(f"{line:<28} # {units[field.name]}" if field.name in units else line)
    return "\n".join(lines) + "\n"


def save(device: DeviceProfile, path: Path) -> None:
    """Writes the profile; the file appears when it is whole.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        write_whole(path, to_toml(device))
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}; choose another --out.") from None
