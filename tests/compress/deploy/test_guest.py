"""The emulated guest: what is told where an emulator or a tool is missing. What runs in it is in tests/e2e."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from compress.deploy import guest
from compress.deploy.target import Target
from device_asr.errors import DeviceAsrError

FOREIGN = Target("toy", "aarch64" if platform.machine() == "x86_64" else "x86_64", 1, "cortex-a76")
OWN = replace(FOREIGN, machine=platform.machine())


def without(*names: str) -> Callable[[str], str | None]:
    """`shutil.which` on a machine that lacks the programs with these beginnings."""
    found = shutil.which
    return lambda name: None if name.startswith(names) else found(name) or f"/usr/bin/{name}"


def test_this_machine_needs_no_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", without("qemu"))
    assert guest.emulator(OWN) is None


def test_a_missing_emulator_is_told_with_the_line_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", without("qemu"))
    with pytest.raises(DeviceAsrError, match="QEMU for it is missing; run: sudo apt install qemu-user-static"):
        guest.require(FOREIGN)


@pytest.mark.parametrize("name", ["mmdebstrap", "unshare"])
def test_a_missing_tool_is_told_with_the_line_that_brings_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", without(name))
    with pytest.raises(DeviceAsrError, match=f"{name} is missing; run: sudo apt install"):
        guest.require(FOREIGN)


def test_no_processor_is_chosen_for_a_device_that_names_none() -> None:
    with pytest.raises(DeviceAsrError, match="names no processor that can be emulated; set `processor`"):
        guest.emulator(replace(FOREIGN, processor=""))


def test_a_machine_that_lets_nobody_make_namespaces_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "unshare").write_text("#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n")
    (tmp_path / "unshare").chmod(0o755)
    monkeypatch.setattr(shutil, "which", without())
    monkeypatch.setattr(guest, "NAMESPACES", (str(tmp_path / "unshare"),))
    with pytest.raises(DeviceAsrError, match=r"user namespaces .* unshare failed: Operation not permitted; try"):
        guest.require(FOREIGN)


def test_roots_are_kept_where_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(guest.CACHE_VARIABLE, str(tmp_path))
    assert guest.cache() == tmp_path
    monkeypatch.delenv(guest.CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert guest.cache() == tmp_path / "xdg/device_asr/roots"


def test_a_root_that_is_there_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(guest.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))  # nothing that could make one
    (tmp_path / f"bookworm-{FOREIGN.machine}").mkdir()
    assert guest.root(FOREIGN, "bookworm") == tmp_path / f"bookworm-{FOREIGN.machine}"


def test_a_root_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "bin" / "mmdebstrap"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho 'I: fetching' >&2\necho 'E: no such mirror' >&2\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    monkeypatch.setenv(guest.CACHE_VARIABLE, str(tmp_path / "roots"))
    with pytest.raises(DeviceAsrError, match=r"could not make a Debian root \(bookworm\): E: no such mirror; check"):
        guest.root(FOREIGN, "bookworm")
    assert not [path for path in (tmp_path / "roots").iterdir() if path.is_dir()]
