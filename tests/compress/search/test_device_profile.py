"""Device profiles: what they grant, what they refuse, and that this machine can be measured into one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from compress.evaluate.measurement import Measurement
from compress.search.device_profile import DeviceProfile, from_table, load, misses, save, shipped
from device_asr.errors import OutputError, UsageError

DEVICE = DeviceProfile("toy", 2, 400, 20.0, 300.0, 0.5, 4.0, "made up")
WITHIN = Measurement(
    "a", parameters=1_000_000, bytes=20_000_000, wer=0.1, rtf=0.125, compute_p95=0.075, memory=400 * 2**20
)


@pytest.mark.parametrize("name", ["laptop", "rpi4", "rpi5"])
def test_the_shipped_profiles_load_and_name_the_source_of_their_factor(name: str) -> None:
    device = load(name)
    assert device.name == name
    assert "\n" not in device.source and len(device.source) > 80
    assert "estimate" in device.source.lower() or "assumed" in device.source.lower()


def test_the_shipped_profiles_name_a_machine_and_a_processor_that_qemu_knows() -> None:
    shown = {name: (load(name).machine, load(name).processor) for name in shipped()}
    assert shown == {"laptop": ("x86_64", ""), "rpi4": ("aarch64", "cortex-a72"), "rpi5": ("aarch64", "cortex-a76")}


def test_slower_devices_have_larger_factors() -> None:
    assert load("laptop").speed_factor < load("rpi5").speed_factor < load("rpi4").speed_factor


@pytest.mark.parametrize("name", ["laptop", "rpi4", "rpi5"])
def test_the_factor_of_a_shipped_profile_is_told_with_its_range_and_is_never_called_measured(name: str) -> None:
    device = load(name)
    assert 0 < device.fastest < device.speed_factor < device.slowest
    assert device.factor == f"{device.speed_factor:g} ({device.fastest:g} to {device.slowest:g})"
    assert "expected; nothing was measured" in shipped()[name].read_text(encoding="utf-8")


def test_a_factor_outside_its_own_range_is_refused() -> None:
    assert DEVICE.factor == "4" and replace(DEVICE, fastest=4.0, slowest=4.0).factor == "4 (4 to 4)"
    for change in ({"fastest": 5.0}, {"slowest": 3.0}, {"fastest": -1.0}):
        with pytest.raises(UsageError, match="wanted"):
            replace(DEVICE, **change)


def test_a_bundle_exactly_at_its_budgets_misses_none() -> None:
    assert misses(WITHIN, DEVICE) == ()


@pytest.mark.parametrize(
    ("change", "budget", "found"),
    [
        ({"bytes": 25_000_000}, "size", 25.0),
        ({"memory": 500 * 2**20}, "memory", 500.0),
        ({"compute_p95": 0.1}, "finalization", 400.0),  # times the factor
        ({"rtf": 0.25}, "RTF", 1.0),
    ],
)
def test_each_budget_is_compared_on_the_device(change: dict[str, float], budget: str, found: float) -> None:
    (miss,) = misses(replace(WITHIN, **change), DEVICE)
    assert (miss.budget, miss.found) == (budget, pytest.approx(found))
    assert miss.excess > 0 and budget in str(miss)


def test_what_was_not_measured_misses_nothing() -> None:
    assert misses(Measurement("a", parameters=1, bytes=1), DEVICE) == ()


def test_a_saved_profile_loads_as_it_was(tmp_path: Path) -> None:
    device = replace(DEVICE, source='quotes " and \\ and é')
    save(device, tmp_path / "toy.toml")
    assert load(str(tmp_path / "toy.toml")) == device
    assert [path.name for path in tmp_path.iterdir()] == ["toy.toml"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        save(DEVICE, tmp_path / "no" / "toy.toml")


def test_a_profile_without_a_machine_loads() -> None:
    values = {field: getattr(DEVICE, field) for field in DEVICE.__dataclass_fields__}
    del values["machine"], values["processor"]
    assert from_table(values, "toy.toml") == DEVICE
    with pytest.raises(UsageError, match="machine: wanted a text, found 1"):
        from_table({**values, "machine": 1}, "toy.toml")


def test_bad_profiles_are_one_sentence(tmp_path: Path) -> None:
    values = {field: getattr(DEVICE, field) for field in DEVICE.__dataclass_fields__}
    with pytest.raises(UsageError, match=r"size_mb: wanted a number above 0, found 0"):
        from_table({**values, "size_mb": 0}, "toy.toml")
    with pytest.raises(UsageError, match=r"threads: wanted a whole number, found 1\.5"):
        from_table({**values, "threads": 1.5}, "toy.toml")
    with pytest.raises(UsageError, match=r"rtf: wanted a number above 0, found '0\.5'"):
        from_table({**values, "rtf": "0.5"}, "toy.toml")
    with pytest.raises(UsageError, match="source: wanted a text"):
        from_table({**values, "source": ""}, "toy.toml")
    with pytest.raises(UsageError, match="unknown key 'memry_mb'; the nearest valid name is 'memory_mb'"):
        from_table({**values, "memry_mb": 1}, "toy.toml")
    with pytest.raises(UsageError, match="wanted the key 'rtf'"):
        from_table({k: v for k, v in values.items() if k != "rtf"}, "toy.toml")
    with pytest.raises(UsageError, match="Did you mean 'rpi4'"):
        load("rpi44")
    with pytest.raises(UsageError, match="does not exist"):
        load(str(tmp_path / "none.toml"))
    (tmp_path / "broken.toml").write_text("name = ")
    with pytest.raises(UsageError, match="cannot be read"):
        load(str(tmp_path / "broken.toml"))


def test_profiles_are_in_the_package() -> None:
    assert set(shipped()) == {"laptop", "rpi4", "rpi5"}
