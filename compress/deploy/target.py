"""What a bundle for a device is made for: its architecture, its Pythons and the platforms of its wheels."""

from __future__ import annotations

import re
from dataclasses import dataclass

from compress.search.device_profile import DeviceProfile
from device_asr.errors import UsageError

MACHINES = ("aarch64", "x86_64")
SYSTEMS = {"3.11": "bookworm", "3.13": "trixie"}  # Python -> the release of Debian and of Raspberry Pi OS that has it
GLIBC = (17, 36)  # 2.17, the oldest that wheels name, to 2.36 of bookworm, the oldest system that is supported
OLDEST_PYTHON = 11


@dataclass(frozen=True)
class Target:
    """A device and the Pythons that its system may have.

    name: of the device's profile. machine: as `uname -m` prints it. threads: of the recognizer on the device.
    processor: QEMU's name of it; empty: it is not emulated. pythons: versions such as "3.11".

    Raises:
        UsageError: the architecture is not known, or a version of Python cannot be.
    """

    name: str
    machine: str
    threads: int
    processor: str = ""
    pythons: tuple[str, ...] = tuple(SYSTEMS)

    def __post_init__(self) -> None:
        if self.machine not in MACHINES:
            raise UsageError(
                f"Device {self.name!r}: wanted a machine that is {' or '.join(MACHINES)}, found "
                f"{self.machine or 'none'!r}; set `machine` in its profile."
            )
        for version in self.pythons:
            if not re.fullmatch(r"3\.\d{1,2}", version) or int(version[2:]) < OLDEST_PYTHON:
                raise UsageError(f"--python: wanted a version such as 3.11 or 3.13, 3.11 or later, found {version!r}.")
        if len(set(self.pythons)) < len(self.pythons):
            raise UsageError(f"--python: wanted each version once, found {' '.join(self.pythons)}.")

    @property
    def platforms(self) -> list[str]:
        """The platforms of wheels that the oldest supported system takes, the newest first."""
        first, last = GLIBC
        return [
            *(f"manylinux_2_{minor}_{self.machine}" for minor in range(last, first - 1, -1)),
            self.older,
            self.plain,
        ]

    @property
    def older(self) -> str:
        """The former name of manylinux_2_17."""
        return f"manylinux2014_{self.machine}"

    @property
    def plain(self) -> str:
        """The platform of a wheel that was built for this machine and nothing said of its C library."""
        return f"linux_{self.machine}"


def target_of(device: DeviceProfile, pythons: tuple[str, ...] = ()) -> Target:
    """The target of a device profile; without `pythons` those of the supported systems.

    Raises:
        UsageError: see `Target`.
    """
    return Target(device.name, device.machine, device.threads, device.processor, pythons or tuple(SYSTEMS))
