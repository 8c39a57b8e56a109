"""Temperature, throttling and the clock of the processor, where the kernel or the firmware tells them."""

from __future__ import annotations

import re

from device_asr.doctor.check import NOT_KNOWN, OK, WARNING, Check
from device_asr.doctor.facts import Facts

HOT = 80.0  # degrees Celsius: a Raspberry Pi slows down from here on (its soft limit; 60 on a 3B+)
PROCESSOR_ZONES = ("cpu", "soc", "x86_pkg_temp", "coretemp", "k10temp", "acpitz")
SYSFS_THROTTLED = "/sys/devices/platform/soc/soc:firmware/get_throttled"
SLOW_GOVERNORS = ("powersave", "conservative")
# bits of `vcgencmd get_throttled` (raspberrypi.com/documentation/computers/os.html#get_throttled)
NOW = {
    0: "the supply voltage is too low",
    1: "the clock is capped",
    2: "the processor is throttled",
    3: "the soft temperature limit is active",
}
SINCE_BOOT = {
    16: "the supply voltage was too low",
    17: "the clock was capped",
    18: "the processor was throttled",
    19: "the soft temperature limit was reached",
}
VOLTAGE, LIMITS = {0, 16}, {1, 2, 3, 17, 18, 19}


def temperature(facts: Facts) -> float | None:
    """Degrees Celsius of the processor, or of the hottest zone where none is named so; None: not told."""
    zones = {}
    for path in facts.files:
        if re.fullmatch(r"/sys/class/thermal/thermal_zone\d+/type", path):
            reading = facts.text(path.removesuffix("type") + "temp")
            if reading is not None and re.fullmatch(r"-?\d+", reading):
                zones[path] = (facts.text(path) or "", int(reading) / 1000)
    named = [degrees for kind, degrees in zones.values() if kind.startswith(PROCESSOR_ZONES)]
    return max(named or [degrees for _, degrees in zones.values()], default=None)


def throttled(facts: Facts) -> int | None:
    """The firmware's bits of throttling; None: not told."""
    told = facts.throttled if facts.throttled is not None else facts.text(SYSFS_THROTTLED)
    found = re.search(r"(?:throttled=)?(0x)?([0-9a-fA-F]+)\s*$", told or "")
    return int(found[2], 16) if found else None


def check_temperature(facts: Facts) -> Check:
    """The temperature; a warning at the limit from which a Raspberry Pi slows down."""
    degrees = temperature(facts)
    figures = {"celsius": degrees}
    if degrees is None:
        return Check("temperature", NOT_KNOWN, "The temperature is not known.", figures)
    if degrees >= HOT:
        return Check("temperature", WARNING, f"{degrees:.0f} °C: too hot to keep its speed; cool it.", figures)
    return Check("temperature", OK, f"{degrees:.0f} °C.", figures)


def check_throttling(facts: Facts) -> Check:
    """What the firmware of a Raspberry Pi held back, now and since the start."""
    bits = throttled(facts)
    if bits is None:
        return Check("throttling", NOT_KNOWN, "Whether it is throttled is not known.", {"bits": None})
    now = [said for bit, said in NOW.items() if bits >> bit & 1]
    before = [said for bit, said in SINCE_BOOT.items() if bits >> bit & 1]
    figures = {"bits": f"{bits:#x}", "now": now, "since_boot": before}
    if not now and not before:
        return Check("throttling", OK, "Never throttled since the start.", figures)
    says = "; ".join([*now, *(f"since the start {said}" for said in before)])
    advice = []
    if any(bits >> bit & 1 for bit in VOLTAGE):
        advice.append("use the supply that belongs to the board, and a short cable")
    if any(bits >> bit & 1 for bit in LIMITS):
        advice.append("cool the board")
    return Check("throttling", WARNING, f"{says[0].upper()}{says[1:]}: {' and '.join(advice)}.", figures)


def check_clock(facts: Facts) -> Check:
    """The governor and the clock now, at most, and by design; a warning where the system holds the clock back."""
    folder = re.compile(r"(/sys/devices/system/cpu/cpu\d+/cpufreq)/scaling_governor")
    folders = [match[1] for path in facts.files if (match := folder.fullmatch(path))]
    if not folders:
        return Check("clock", NOT_KNOWN, "The clock and its governor are not known.", {"governor": None})
    governors = sorted({facts.text(f"{path}/scaling_governor") or "" for path in folders})
    now, allowed, possible = (
        max((_hertz(facts, f"{path}/{name}") or 0 for path in folders), default=0) or None
        for name in ("scaling_cur_freq", "scaling_max_freq", "cpuinfo_max_freq")
    )
    figures = {"governor": ", ".join(governors), "now_hz": now, "limit_hz": allowed, "maximum_hz": possible}
    says = f"governor {figures['governor']}, now {_giga(now)}, at most {_giga(allowed)}"
    if allowed and possible and allowed < possible:
        return Check("clock", WARNING, f"{says}: the system holds it below its {_giga(possible)}.", figures)
    slow = [governor for governor in governors if governor in SLOW_GOVERNORS]
    # intel_pstate and amd_pstate call a governor powersave that raises the clock at once
    if slow and now and possible and now < possible and facts.architecture in ("aarch64", "arm64"):
        return Check(
            "clock",
            WARNING,
            f"{says}: {slow[0]} keeps the clock low; `echo ondemand | sudo tee {folders[0]}/scaling_governor`.",
            figures,
        )
    return Check("clock", OK, f"{says[0].upper()}{says[1:]}.", figures)


def _hertz(facts: Facts, path: str) -> int | None:
    found = facts.text(path)
    return int(found) * 1000 if found is not None and found.isdigit() else None


def _giga(hertz: int | None) -> str:
    return "not known" if hertz is None else f"{hertz / 1e9:.1f} GHz"
