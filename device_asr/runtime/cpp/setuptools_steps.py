"""Steps of setuptools for the native runtime; `pyproject.toml` names them.

Setuptools reads this file by its path, before anything can be imported from the package, so the build runs in a
process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from setuptools import Command
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build

ROOT = Path(__file__).resolve().parents[3]
RUNTIME = "device_asr/runtime"
RECORD = "build.json"


class BuildNative(Command):
    """Step of `build`: puts the module and its libraries into the wheel, or into the source tree (editable)."""

    description = "build the native runtime"
    user_options = [("build-lib=", "d", "folder of the build")]  # noqa: RUF012 (setuptools' own form)
    build_lib: str
    editable_mode: bool

    def initialize_options(self) -> None:
        self.build_lib, self.editable_mode = "", False

    def finalize_options(self) -> None:
        self.build_lib = self.build_lib or self.get_finalized_command("build").build_lib

    @property
    def target(self) -> Path:
        """The folder of the runtime that is built."""
        return Path(ROOT if self.editable_mode else self.build_lib).resolve() / RUNTIME

    def run(self) -> None:
        command = [sys.executable, "-m", "device_asr.runtime.cpp.build", "--into", str(self.target)]
        if subprocess.run(command, cwd=ROOT).returncode:
            raise SystemExit("The native runtime was not built; the lines above say why.")

    def get_source_files(self) -> list[str]:
        files = [*(ROOT / RUNTIME / "cpp").iterdir(), *(ROOT / RUNTIME / "prebuilt").rglob("*.*")]
        return [str(path.relative_to(ROOT)) for path in files if path.is_file()]

    def get_outputs(self) -> list[str]:
        files = (*self.target.glob("_native*.so"), *self.target.glob("lib/*.so"), self.target / RECORD)
        return [str(path) for path in files]

    def get_output_mapping(self) -> dict[str, str]:
        return {}


class Build(build):
    """`build` with the native runtime as its last step."""

    sub_commands = [*build.sub_commands, ("build_native", None)]  # noqa: RUF012 (setuptools' own form)


class Wheel(bdist_wheel):
    """A wheel for every CPython from 3.11 on one platform; without the module a wheel for every platform."""

    def get_tag(self) -> tuple[str, str, str]:
        step = self.get_finalized_command("build_native")
        assert isinstance(step, BuildNative)
        record = step.target / RECORD
        platform = json.loads(record.read_text(encoding="utf-8"))["platform"] if record.is_file() else None
        self.root_is_pure = platform is None
        return ("py3", "none", "any") if platform is None else ("cp311", "abi3", platform)
