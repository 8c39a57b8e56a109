"""Builds the module `device_asr.runtime._native`, as a step of `pip install` and `pip wheel` or by hand.

    python -m device_asr.runtime.cpp.build             # builds the module in the source tree
    python -m device_asr.runtime.cpp.build --prebuilt  # makes the modules of device_asr/runtime/prebuilt anew

The module is compiled against the headers and libraries of ExecuTorch's wheel, which pip downloads (18 MB) and whose
sha256 is pinned; the wheel is never resolved with its 55 dependencies. Where no compiler is found, the module of
`device_asr/runtime/prebuilt/<machine>` is taken. Where neither is possible, the build goes on without the module.
`build.json` beside the module says what was done, or why there is no module.

Environment variables:
    DEVICE_ASR_BUILD_WHEEL: ExecuTorch's wheel, or a folder that holds it; nothing is downloaded then.
    DEVICE_ASR_BUILD_MACHINE: x86_64 or aarch64, for another machine than this one; a failure is an error then.
    CXX: the compiler.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from device_asr.runtime.cpp.build_native import EXECUTORCH, HERE, MODULE, compile_module, fetch_libraries

SHA256 = {  # of the wheels for Python 3.11; those for other Pythons hold the same libraries
    "x86_64": "274c28c2fe2b76acb03f9fa381537425c40e0098dcf886baf6d97a1a55ffe300",
    "aarch64": "8ee02348a3ea80ddf770822911ebf78da616b73afce0fbaaa79f23311c88c66a",
}
GLIBC, GLIBCXX = (2, 28), (3, 4, 25)  # the newest symbols of the policy manylinux_2_28, which ExecuTorch's wheel has
PREBUILT = HERE.parent / "prebuilt"
RECORD = PREBUILT / "record.json"


class BuildError(Exception):
    """The module cannot be built; the message is a sentence without its full stop."""


def build(target: Path, machine: str | None = None) -> dict[str, Any]:
    """Puts the module, its libraries and `build.json` into the folder `target`; older ones are taken away first.

    Args:
        target: the folder `device_asr/runtime` of a source tree, or of a wheel in the making.
        machine: x86_64 or aarch64; None stands for this machine, where a failure is noted in `build.json`.

    Returns:
        What `build.json` holds: `how` the module was made and the `platform` of its wheel, or the `reason` for which
        there is none.

    Raises:
        BuildError: a machine was named, and its module cannot be built.
    """
    _remove(target)
    try:
        if machine is None:
            check_this_machine()
        how = _build(target, machine or platform.machine())
        record = {"how": how, "platform": platform_tag(target, machine or platform.machine()), "reason": None}
    except (BuildError, OSError, zipfile.BadZipFile) as error:
        _remove(target)
        if machine is not None:
            raise BuildError(f"the module for {machine} cannot be built: {error}") from None
        record = {"how": None, "platform": None, "reason": str(error)}
    target.mkdir(parents=True, exist_ok=True)
    (target / "build.json").write_text(json.dumps(record) + "\n", encoding="utf-8")
    return record


def _remove(target: Path) -> None:
    for path in (target / MODULE.name, target / "build.json"):
        path.unlink(missing_ok=True)
    shutil.rmtree(target / "lib", ignore_errors=True)


def check_this_machine() -> None:
    """Raises BuildError where the libraries of ExecuTorch's wheel, or a module of the limited API, cannot run."""
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError):  # not POSIX, not GNU
        libc = ""
    version = tuple(map(int, re.findall(r"\d+", libc)))
    bits = 64 if sys.maxsize > 2**32 else 32
    if platform.machine() not in SHA256 or bits != 64 or version < GLIBC:
        raise BuildError(
            "the native runtime needs 64-bit Linux on x86_64 or aarch64 with glibc 2.28 or later, and this is "
            f"{bits}-bit {platform.system()} on {platform.machine()} with {libc or 'another C library'}"
        )
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise BuildError("the native runtime needs CPython with the global interpreter lock")


def _build(target: Path, machine: str) -> str:
    if machine not in SHA256:
        raise BuildError(f"wanted x86_64 or aarch64, found {machine}")
    with tempfile.TemporaryDirectory() as folder:
        wheel = _wheel(machine, Path(folder))
        (target / "lib").mkdir(parents=True)
        fetch_libraries(wheel, target / "lib")
        try:
            return f"compiled by {_compile(wheel, machine, target)}"
        except BuildError as error:
            _take_prebuilt(target, machine)
            return f"prebuilt ({error})"


def _wheel(machine: str, folder: Path) -> Path:
    """ExecuTorch's wheel, named by the environment variable or downloaded into `folder`; its sha256 is right."""
    name = f"executorch-{EXECUTORCH}-cp311-cp311-manylinux_2_28_{machine}.whl"
    named = os.environ.get("DEVICE_ASR_BUILD_WHEEL")
    if named:
        path = Path(named) / name if Path(named).is_dir() else Path(named)
        if not path.is_file():
            raise BuildError(f"DEVICE_ASR_BUILD_WHEEL: wanted {name}, found no file {path}")
    else:
        path = _download(name, machine, folder)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256[machine]:
        raise BuildError(f"{path}: wanted the sha256 {SHA256[machine]}, found {found}")
    return path


def _download(name: str, machine: str, folder: Path) -> Path:
    """Downloads the wheel by pip, so that pip's index, proxy, certificates and cache are used."""
    where = ["--dest", str(folder), "--platform", f"manylinux_2_28_{machine}"]
    which = ["--no-deps", "--only-binary=:all:", "--python-version=3.11", "--implementation=cp", "--abi=cp311"]
    pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet", *where, *which]
    try:
        _run([*pip, f"executorch=={EXECUTORCH}"])
    except BuildError as error:
        raise BuildError(
            f"pip could not download executorch {EXECUTORCH} ({error}); install again with a network, or set "
            f"DEVICE_ASR_BUILD_WHEEL to a folder that holds {name}"
        ) from None
    return folder / name


def _compile(wheel: Path, machine: str, target: Path) -> str:
    """Compiles the module in `target`, beside the libraries in its folder `lib`; returns the compiler's name."""
    compiler = _compiler(machine)
    name = _run([*compiler, "--version"]).splitlines()[0]
    headers = sysconfig.get_path("include")
    if not Path(headers, "Python.h").is_file():
        raise BuildError(f"{headers}/Python.h is missing; Debian has it in python3-dev")
    try:
        compile_module(wheel, compiler, target / MODULE.name, target / "lib", headers)
    except subprocess.CalledProcessError:
        raise BuildError(f"{name} could not compile it") from None
    check_that_it_loads(target, machine)
    return name


def _compiler(machine: str) -> list[str]:
    """The command of a C++ compiler for `machine`: CXX, or the first that is found."""
    own = machine == platform.machine()
    if own and os.environ.get("CXX"):
        return shlex.split(os.environ["CXX"])
    for name in (*(("g++", "c++", "clang++") if own else ()), f"{machine}-linux-gnu-g++"):
        if shutil.which(name):
            return [name]
    raise BuildError(f"no C++ compiler for {machine} was found")


def _run(command: Sequence[str]) -> str:
    """Runs a command and returns its standard output.

    Raises:
        BuildError: it cannot be run, or fails; the message has its last line.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise BuildError(f"{command[0]} cannot be run ({error.strerror})") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise BuildError(f"{Path(command[0]).name} failed: {lines[-1]}")
    return done.stdout


def _take_prebuilt(target: Path, machine: str) -> None:
    """Copies the prebuilt module, if it was made of the sources that are here."""
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}
    if record.get("sources") != sources() or record.get("executorch") != EXECUTORCH:
        raise BuildError(
            "no compiler can be used, and the prebuilt modules are older than the C++ files; make them anew: "
            "python -m device_asr.runtime.cpp.build --prebuilt"
        )
    shutil.copyfile(PREBUILT / machine / MODULE.name, target / MODULE.name)
    check_that_it_loads(target, machine)


def check_that_it_loads(target: Path, machine: str) -> None:
    """Loads the module in a process of its own, if it is for this machine."""
    if machine == platform.machine():
        _run([sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv[1]); import _native", str(target)])


def sources() -> dict[str, str]:
    """Name of each C++ file -> its sha256."""
    files = sorted(path for path in HERE.iterdir() if path.suffix in (".cpp", ".h"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def platform_tag(folder: Path, machine: str) -> str:
    """The platform of a wheel: manylinux_2_28 where the symbols of the module and its libraries allow it."""
    names = b"".join(path.read_bytes() for path in (folder / MODULE.name, *(folder / "lib").iterdir()))
    portable = newest(b"GLIBC", names) <= GLIBC and newest(b"GLIBCXX", names) <= GLIBCXX
    return f"manylinux_2_28_{machine}" if portable else f"linux_{machine}"


def newest(library: bytes, names: bytes) -> tuple[int, ...]:
    """The newest version of a library's symbols that is named, as (2, 17)."""
    found = re.findall(rb"\0" + library + rb"_([0-9.]+)(?=\0)", names)
    return max((tuple(map(int, version.split(b"."))) for version in found), default=())


def make_prebuilt() -> None:
    """Makes the prebuilt modules of every machine anew, with a record of their sources.

    Raises:
        BuildError: a compiler is missing, or a module would not run with glibc 2.28.
    """
    modules, compilers = {}, {}
    for machine in SHA256:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            wheel = _wheel(machine, folder)
            fetch_libraries(wheel, folder / "lib")
            compilers[machine] = _compile(wheel, machine, folder)
            if not platform_tag(folder, machine).startswith("manylinux"):
                raise BuildError(f"the module for {machine} needs symbols later than glibc 2.28 or GLIBCXX 3.4.25")
            (PREBUILT / machine).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / MODULE.name, PREBUILT / machine / MODULE.name)
            modules[machine] = hashlib.sha256((folder / MODULE.name).read_bytes()).hexdigest()
    record = {"executorch": EXECUTORCH, "sources": sources(), "modules": modules, "compilers": compilers}
    RECORD.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Builds into a folder, by default the source tree, or makes the prebuilt modules anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=HERE.parent, help="the folder device_asr/runtime of a build")
    parser.add_argument("--prebuilt", action="store_true", help="make the modules of runtime/prebuilt anew instead")
    given = parser.parse_args()
    try:
        if given.prebuilt:
            make_prebuilt()
            return
        made = build(given.into, os.environ.get("DEVICE_ASR_BUILD_MACHINE"))
    except BuildError as error:
        sys.exit(f"device-asr: {error}.")
    print("native runtime:", made["how"] or f"none; {made['reason']}")


if __name__ == "__main__":
    main()
