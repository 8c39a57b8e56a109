"""Builds the extension module `_native` and unpacks the libraries of ExecuTorch that it is linked to.

    python -m device_asr.runtime.cpp.build_native executorch-1.5.1-cp311-cp311-manylinux_2_28_x86_64.whl

The libraries and headers are those of ExecuTorch's own wheel. Nothing here imports a package outside the standard
library, since it runs while device_asr is installed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

EXECUTORCH = "1.5.1"
HERE = Path(__file__).parent
MODULE = HERE.parent / "_native.abi3.so"
LIBRARIES = HERE.parent / "lib"
SOURCES = tuple(sorted(HERE.glob("*.cpp")))

# The runtime, its threads, the delegate and the operators outside it (3.1 MB of a wheel; 25 of them are needed).
NAMES = ("", "_threadpool", "_backend_xnnpack", "_kernels_optimized")

# ExecuTorch's own extension asks for the libraries by these names too. The loader would give the second module of
# a process the libraries of the first, of whatever version; under a name of their own both keep what they were
# linked to. The names are equally long, so they are replaced in place.
THEIRS, OURS = b"libexecutorch", b"libdevice_asr"

FLAGS = (
    *("-std=c++17", "-Os", "-Wall", "-Wextra", "-fPIC", "-fvisibility=hidden", "-shared"),
    *("-DPy_LIMITED_API=0x030B0000", "-DC10_USING_CUSTOM_GENERATED_MACROS"),
    *("-DET_EVENT_TRACER_ENABLED", "-DET_USE_THREADPOOL", f'-DDEVICE_ASR_EXECUTORCH="{EXECUTORCH}"'),
)


def fetch_libraries(wheel: Path, folder: Path = LIBRARIES) -> None:
    """Unpacks the libraries from ExecuTorch's wheel into `folder`, under the names that `_native` asks for."""
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in NAMES:
            library = archive.read(f"executorch/lib/libexecutorch{name}.so")
            path = folder / f"{OURS.decode()}{name}.so"
            path.write_bytes(library.replace(THEIRS, OURS))
            path.chmod(0o755)


def compile_module(
    wheel: Path,
    compiler: Sequence[str] = ("g++",),
    module: Path = MODULE,
    libraries: Path = LIBRARIES,
    python_headers: str = sysconfig.get_paths()["include"],
    flags: Sequence[str] = ("-s",),
) -> None:
    """Compiles the sources against the wheel's headers and links them to the libraries in `libraries`.

    The operators and the delegate register themselves when they are loaded; the module calls neither, so the
    linker must be told to keep them.

    Raises:
        subprocess.CalledProcessError: the compiler fails; it has said why.
    """
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder, [n for n in archive.namelist() if n.startswith("executorch/include/")])
        include = Path(folder, "executorch", "include")
        headers = (include, include / "executorch/runtime/core/portable_type/c10", python_headers)
        subprocess.run(
            [
                *(*compiler, *FLAGS, *flags),
                *(word for path in headers for word in ("-isystem", str(path))),
                *map(str, SOURCES),
                *("-Wl,--no-as-needed", *(str(libraries / f"{OURS.decode()}{name}.so") for name in NAMES)),
                *("-Wl,-rpath,$ORIGIN/lib", "-o", str(module)),
            ],
            check=True,
        )


def main(arguments: Sequence[str]) -> None:
    """Builds the module in place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help=f"executorch {EXECUTORCH}'s wheel for this machine")
    parser.add_argument("--flag", action="append", default=[], help="for the compiler, e.g. --flag=-fsanitize=address")
    given = parser.parse_args(arguments)
    fetch_libraries(given.wheel)
    compile_module(given.wheel, flags=given.flag or ("-s",))


if __name__ == "__main__":
    main(sys.argv[1:])
