"""Which machine this is, and which instructions its processor has for the model's 8-bit products."""

from __future__ import annotations

import re

from device_asr.doctor.check import NOT_KNOWN, OK, WARNING, Check
from device_asr.doctor.facts import Facts

MEBI = 2**20
# What XNNPACK's 8-bit kernels choose between (its src/configs/gemm-config.c), the best last in each group.
X86 = {"avx2": "AVX2", "avx512f": "AVX-512", "avx_vnni": "AVX-VNNI", "avx512_vnni": "AVX-512 VNNI", "amx_int8": "AMX"}
ARM = {"asimd": "NEON", "asimddp": "dot product", "i8mm": "i8mm", "sme": "SME"}
ARCHITECTURES = {"x86_64": X86, "amd64": X86, "aarch64": ARM, "arm64": ARM}
PARTS = {"0xd03": "Cortex-A53", "0xd05": "Cortex-A55", "0xd08": "Cortex-A72", "0xd0b": "Cortex-A76"}


def model(facts: Facts) -> str | None:
    """The board or computer's name, such as `Raspberry Pi 5 Model B Rev 1.0`; None: the system does not tell."""
    board = facts.text("/proc/device-tree/model")
    return board or _field(facts, "Model")


def processor(facts: Facts) -> str | None:
    """The processor's name, such as `Cortex-A76`; several of a big.LITTLE are joined with a plus sign."""
    named = _field(facts, "model name")
    parts = dict.fromkeys(re.findall(r"^CPU part\s*:\s*(\S+)", facts.files.get("/proc/cpuinfo", ""), re.MULTILINE))
    if parts:
        return " + ".join(PARTS.get(part, f"ARM part {part}") for part in parts)
    return named


def features(facts: Facts) -> set[str] | None:
    """The instruction sets that every processor has, as Linux names them; None: the system does not tell.

    Under emulation /proc/cpuinfo is that of the machine below, whose architecture calls the line otherwise.
    """
    key = "flags" if ARCHITECTURES.get(facts.architecture) is X86 else "Features"
    lines = re.findall(rf"^{key}\s*:(.*)$", facts.files.get("/proc/cpuinfo", ""), re.MULTILINE)
    return set.intersection(*(set(line.split()) for line in lines)) if lines else None


def kernels(facts: Facts) -> dict[str, bool] | None:
    """Name of an instruction set -> whether this processor has it; None: not known, or another architecture."""
    found, known = features(facts), ARCHITECTURES.get(facts.architecture)
    return None if found is None or known is None else {name: flag in found for flag, name in known.items()}


def check_machine(facts: Facts) -> Check:
    """The machine; a warning where it has no runtime (32 bit, another architecture)."""
    name, chip, memory = model(facts), processor(facts), memory_total(facts)
    cores = len(re.findall(r"^processor\s*:", facts.files.get("/proc/cpuinfo", ""), re.MULTILINE)) or None
    figures = {
        "model": name,
        "processor": chip,
        "architecture": facts.architecture or None,
        "bits": facts.bits,
        "kernel": f"{facts.system} {facts.kernel}".strip() or None,
        "cores": cores,
        "usable_cores": facts.usable,
        "memory_bytes": memory,
    }
    usable = f", {facts.usable} of them usable" if cores and facts.usable and facts.usable < cores else ""
    says = ", ".join(
        [
            name or "a machine whose name is not known",
            f"{cores or 'an unknown number of'} cores of {chip or 'an unknown processor'}{usable}",
            f"{memory / MEBI:.0f} MiB" if memory else "memory not known",
            f"{figures['kernel'] or 'kernel not known'} ({facts.architecture or 'architecture not known'})",
        ]
    )
    if facts.bits != 64:
        return Check(
            "machine", WARNING, f"{says}. This Python has 32 bits; the runtime needs a 64-bit system.", figures
        )
    if facts.architecture and facts.architecture not in ARCHITECTURES:
        return Check("machine", WARNING, f"{says}. The runtime exists for x86-64 and aarch64 only.", figures)
    return Check("machine", OK, f"{says}.", figures)


def check_kernels(facts: Facts) -> Check:
    """The instruction sets for 8-bit products; a warning where only the slow ones are there."""
    found = kernels(facts)
    if found is None:
        return Check("kernels", NOT_KNOWN, "The processor's instruction sets are not known.", {"kernels": None})
    there = [name for name, has in found.items() if has]
    lacks = [name for name, has in found.items() if not has]
    says = f"{', '.join(there) or 'none'} for 8-bit products"
    says += f"; without {', '.join(lacks)}." if lacks else "."
    if facts.architecture in ("aarch64", "arm64") and not found["dot product"]:
        says += " Without the dot product an 8-bit model is about half as fast at the same clock."
    return Check("kernels", OK if there else WARNING, says, {"kernels": found})


def memory_total(facts: Facts) -> int | None:
    """Bytes of memory."""
    return meminfo(facts, "MemTotal")


def meminfo(facts: Facts, key: str) -> int | None:
    """Bytes that /proc/meminfo tells for `key`; None: it does not tell."""
    found = re.search(rf"^{key}:\s*(\d+) kB", facts.files.get("/proc/meminfo", ""), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _field(facts: Facts, key: str) -> str | None:
    """The first value of `key` in /proc/cpuinfo."""
    found = re.search(rf"^{re.escape(key)}\s*:\s*(.+)$", facts.files.get("/proc/cpuinfo", ""), re.MULTILINE)
    return found[1].strip() if found else None
