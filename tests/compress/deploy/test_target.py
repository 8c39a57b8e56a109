"""Targets: what a profile must say, and the platforms of wheels."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compress.deploy.target import Target, target_of
from compress.search.device_profile import load
from device_asr.errors import UsageError


@pytest.mark.parametrize(("name", "machine"), [("rpi4", "aarch64"), ("rpi5", "aarch64"), ("laptop", "x86_64")])
def test_the_shipped_profiles_are_targets_for_both_releases_of_debian(name: str, machine: str) -> None:
    target = target_of(load(name))
    assert (target.name, target.machine, target.pythons) == (name, machine, ("3.11", "3.13"))


def test_wheels_are_for_the_oldest_system_and_the_newest_platform_comes_first() -> None:
    platforms = target_of(load("rpi5")).platforms
    assert platforms[0] == "manylinux_2_36_aarch64"
    assert platforms[-3:] == ["manylinux_2_17_aarch64", "manylinux2014_aarch64", "linux_aarch64"]


def test_what_cannot_be_a_target_is_one_sentence() -> None:
    device = load("rpi5")
    with pytest.raises(UsageError, match=r"wanted a machine that is aarch64 or x86_64, found 'riscv64'"):
        target_of(replace(device, machine="riscv64"))
    with pytest.raises(UsageError, match="found 'none'"):
        target_of(replace(device, machine=""))
    for version in ("3.9", "3", "2.7", "three", "3.11.2"):
        with pytest.raises(UsageError, match=rf"--python: wanted a version such as .* found '{version}'"):
            Target("toy", "aarch64", 1, pythons=(version,))
    with pytest.raises(UsageError, match="each version once"):
        target_of(device, ("3.11", "3.11"))
