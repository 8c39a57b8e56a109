"""Temperature, throttling and clock, as kernel and firmware tell them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from device_asr.doctor.check import NOT_KNOWN, OK, WARNING
from device_asr.doctor.facts import Facts
from device_asr.doctor.heat import check_clock, check_temperature, check_throttling
from tests.support.recorded_facts import facts_of

CPU = "/sys/devices/system/cpu/cpu0/cpufreq/"


def zones(*of: tuple[str, str]) -> Facts:
    files = {}
    for number, (kind, temp) in enumerate(of):
        files[f"/sys/class/thermal/thermal_zone{number}/type"] = kind
        files[f"/sys/class/thermal/thermal_zone{number}/temp"] = temp
    return Facts(files)


def test_a_cool_raspberry_pi_5_is_fine(tmp_path: Path) -> None:
    facts = facts_of("pi5", tmp_path)
    assert check_temperature(facts).says == "52 °C." and check_temperature(facts).figures["celsius"] == 51.6
    assert check_throttling(facts).says == "Never throttled since the start."
    assert check_clock(facts).says == "Governor ondemand, now 2.4 GHz, at most 2.4 GHz."


def test_a_hot_raspberry_pi_4_with_a_weak_supply_is_warned_of(tmp_path: Path) -> None:
    facts = facts_of("pi4", tmp_path)
    assert check_temperature(facts).state == WARNING
    check = check_throttling(facts)
    assert check.state == WARNING and check.figures["bits"] == "0x50005"
    assert check.says == (
        "The supply voltage is too low; the processor is throttled; since the start the supply voltage was too low; "
        "since the start the processor was throttled: use the supply that belongs to the board, and a short cable "
        "and cool the board."
    )


@pytest.mark.parametrize(
    ("told", "now", "before"),
    [
        ("throttled=0x0", [], []),
        ("throttled=0x2", ["the clock is capped"], []),
        ("throttled=0x80008", ["the soft temperature limit is active"], ["the soft temperature limit was reached"]),
        ("throttled=0x20000\n", [], ["the clock was capped"]),
    ],
)
def test_every_bit_of_the_firmware_has_its_meaning(told: str, now: list[str], before: list[str]) -> None:
    figures = check_throttling(Facts(throttled=told)).figures
    assert figures["now"] == now and figures["since_boot"] == before


def test_the_kernels_own_file_is_read_where_the_tool_is_missing() -> None:
    facts = Facts({"/sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n"})
    assert check_throttling(facts).figures["bits"] == "0x50005"


def test_the_processors_zone_goes_before_hotter_ones_of_other_parts() -> None:
    assert check_temperature(zones(("iwlwifi_1", "91000"), ("x86_pkg_temp", "48000"))).figures["celsius"] == 48
    assert check_temperature(zones(("a", "41000"), ("b", "43000"))).figures["celsius"] == 43
    assert check_temperature(zones(("cpu-thermal", "80000"))).state == WARNING
    assert check_temperature(zones(("cpu-thermal", "79900"))).state == OK


def test_a_capped_clock_and_a_slow_governor_are_warned_of(tmp_path: Path) -> None:
    facts = facts_of("pi4", tmp_path)
    capped = replace(facts, files={**facts.files, f"{CPU}scaling_max_freq": "600000\n"})
    assert check_clock(capped).state == OK, "another core may still run at its full clock"
    all_capped = {path: "600000\n" if path.endswith("max_freq") else text for path, text in facts.files.items()}
    all_capped = {path: "1800000\n" if path.endswith("cpuinfo_max_freq") else text for path, text in all_capped.items()}
    assert "the system holds it below its 1.8 GHz" in check_clock(replace(facts, files=all_capped)).says
    slow = {path: "powersave\n" if path.endswith("governor") else text for path, text in facts.files.items()}
    assert check_clock(replace(facts, files=slow)).state == WARNING
    assert check_clock(replace(facts, files=slow, architecture="x86_64")).state == OK, "intel_pstate's powersave"


@pytest.mark.parametrize("check", [check_temperature, check_throttling, check_clock])
def test_what_is_not_told_is_not_known(check: object) -> None:
    assert check(Facts()).state == NOT_KNOWN  # type: ignore[operator]
    garbled = Facts(
        {"/sys/class/thermal/thermal_zone0/type": "cpu", "/sys/class/thermal/thermal_zone0/temp": "N/A"},
        throttled='error=1 error_msg="Command not registered"',
    )
    assert check(garbled).state == NOT_KNOWN  # type: ignore[operator]
