"""The wheel of device_asr for another machine, built from the checkout that this package lies in."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from compress.deploy.wheels import run_pip
from compress.paths import PACKAGE
from device_asr.errors import DeviceAsrError, UsageError

EPOCH = "315532800"  # 1980, the first year of zip: equal sources make equal wheels
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "device_asr", "compress")
BUILT = shutil.ignore_patterns("_native*.so", "lib", "build.json")  # in the room of the runtime


def build_wheel(machine: str, folder: Path, root: Path = PACKAGE.parent) -> Path:
    """Builds the wheel for `machine` into `folder`.

    The sources are copied first, so that nothing of the build is left in the checkout. The build itself takes the
    native module from a cross compiler, or from the prebuilt ones of the checkout.

    Raises:
        UsageError: this package was installed without its sources. DeviceAsrError: the build failed.
    """
    missing = [name for name in SOURCES if not (root / name).exists()]
    if missing:
        raise UsageError(
            f"deploy builds the program from its sources: wanted a checkout of the repository, found no {missing[0]} "
            f"in {root}; run it from a checkout that was installed with `pip install -e`."
        )
    with tempfile.TemporaryDirectory() as name:
        copy, out = Path(name) / "sources", Path(name) / "out"
        copy.mkdir()
        for source in SOURCES:
            if (root / source).is_dir():
                shutil.copytree(root / source, copy / source, ignore=_ignored)
            else:
                shutil.copy2(root / source, copy / source)
        environment = {**os.environ, "DEVICE_ASR_BUILD_MACHINE": machine, "SOURCE_DATE_EPOCH": EPOCH}
        try:
            run_pip(["wheel", "--no-deps", "--wheel-dir", str(out), str(copy)], environment, copy)
        except DeviceAsrError as error:
            raise DeviceAsrError(
                f"{error} {_compiler_hint(machine)}" if "compiler" in str(error) else str(error)
            ) from None
        built = sorted(out.glob("device_asr-*.whl"))
        if len(built) != 1 or not built[0].stem.endswith(machine):
            found = ", ".join(path.name for path in built) or "none"
            raise DeviceAsrError(
                f"The build made no wheel for {machine}, found {found}; the prebuilt module is stale or missing. "
                + _compiler_hint(machine)
            )
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy2(built[0], folder))


def _ignored(folder: str, names: list[str]) -> set[str]:
    left = {name for name in names if name == "__pycache__" or name.endswith(".egg-info")}
    return left | (BUILT(folder, names) if Path(folder).name == "runtime" else set())


def _compiler_hint(machine: str) -> str:
    return f"With a compiler it is built: sudo apt install g++-{machine.replace('_', '-')}-linux-gnu"
