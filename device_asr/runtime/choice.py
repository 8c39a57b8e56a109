"""Which implementation of `Session` this process uses, and why."""

from __future__ import annotations

import importlib
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from device_asr.errors import BundleError

VARIABLE = "DEVICE_ASR_RUNTIME"  # an environment variable: forces one of NAMES
NATIVE, EXECUTORCH = NAMES = ("native", "executorch")
ABSENT = "not installed"  # instead of a version

# What XNNPACK's 8-bit and float kernels choose between, as Linux names it in /proc/cpuinfo.
INSTRUCTIONS = (
    *("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8"),  # x86-64
    *("asimd", "asimddp", "i8mm", "sve2", "sme"),  # aarch64; asimddp is the dot product
)


@dataclass(frozen=True)
class Runtime:
    """What runs the programs.

    Attributes:
        name: `native` or `executorch`.
        version: of ExecuTorch.
        instructions: the instruction sets of this processor that XNNPACK's kernels are chosen by.
        reason: why this one runs; a part of a sentence.
        fallback: the other one was wanted, but could not be loaded.
    """

    name: str
    version: str
    instructions: tuple[str, ...]
    reason: str
    fallback: bool = False

    def __str__(self) -> str:
        found = ", ".join(self.instructions) or "unknown"
        return f"{self.name} (ExecuTorch {self.version}; instructions: {found}), {self.reason}"


def native_module() -> Any:
    """The extension module `_native`, imported.

    Raises:
        ImportError: it is not built, or cannot be loaded on this machine.
    """
    return importlib.import_module("device_asr.runtime._native")


@cache
def runtime() -> Runtime:
    """What runs programs in this process; it loads the native module where that may be used.

    Raises:
        BundleError: the variable names no runtime, or forces the native one and that cannot be loaded.
    """
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", *NAMES):
        raise BundleError(f"{VARIABLE}: wanted {' or '.join(NAMES)}, found {wanted!r}; set it to one, or unset it.")
    if wanted == EXECUTORCH:
        return Runtime(EXECUTORCH, _version(), _instructions(), f"since {VARIABLE} says so")
    try:
        version = native_module().EXECUTORCH
    except ImportError as error:
        if wanted:
            raise BundleError(
                f"{VARIABLE}={NATIVE}: the native module cannot be loaded ({error}); install device-asr again where "
                "a C++ compiler is, or unset the variable."
            ) from None
        why = f"since the native module cannot be loaded ({_not_built() or error})"
        return Runtime(EXECUTORCH, _version(), _instructions(), why, True)
    return Runtime(NATIVE, version, _instructions(), f"since {VARIABLE} says so" if wanted else "the default")


def _not_built() -> str | None:
    """Why the install has no native module, in words that `cpp/build.py` wrote; None: it does not say."""
    import json

    try:
        reason = json.loads(Path(__file__).with_name("build.json").read_text(encoding="utf-8"))["reason"]
    except (OSError, ValueError, KeyError, TypeError):  # not installed by pip, or written by something else
        return None
    return None if reason is None else str(reason)


def _version() -> str:
    """ExecuTorch's, of the installed package: importing it takes a second."""
    from importlib import metadata

    try:
        return metadata.version("executorch")
    except metadata.PackageNotFoundError:
        return ABSENT


def _instructions() -> tuple[str, ...]:
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:  # not Linux
        return ()
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    found = set(line[1].split()) if line else set()
    return tuple(name for name in INSTRUCTIONS if name in found)
