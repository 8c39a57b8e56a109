"""Free memory against what the recognizer took, and free disk where sessions are kept."""

from __future__ import annotations

from device_asr.audio.format import SAMPLE_RATE
from device_asr.doctor.check import NOT_KNOWN, OK, WARNING, Check
from device_asr.doctor.facts import Facts
from device_asr.doctor.machine import MEBI, meminfo

INTERFACE = 70 * MEBI  # measured with `device-asr demo`: 57 of the interface, 13 of multiprocessing's tracker
WAV_HOUR = SAMPLE_RATE * 2 * 3600  # bytes of a recorded hour, 16 bit
LEAST_HOURS = 2.0


def check_memory(facts: Facts, needed: int | None) -> Check:
    """Whether the recognizer's measured peak and the interface fit into what is free.

    Args:
        needed: peak bytes of the recognizer's process; None: it could not be measured.
    """
    free = meminfo(facts, "MemAvailable")
    figures = {"available_bytes": free, "needed_bytes": needed}
    if free is None:
        return Check("memory", NOT_KNOWN, "The free memory is not known.", figures)
    if needed is None:
        return Check("memory", NOT_KNOWN, f"{free / MEBI:.0f} MiB free; what is needed is not known.", figures)
    wanted = needed + INTERFACE
    says = f"{free / MEBI:.0f} MiB free, {wanted / MEBI:.0f} MiB needed ({needed / MEBI:.0f} for the recognizer)"
    if free < wanted:
        return Check("memory", WARNING, f"{says}: end other programs, or take a smaller model.", figures)
    return Check("memory", OK, f"{says}.", figures)


def check_disk(facts: Facts) -> Check:
    """Whether the disk of the sessions has room for recordings."""
    figures = {"free_bytes": facts.disk}
    if facts.disk is None:
        return Check("disk", NOT_KNOWN, "The free disk where sessions are kept is not known.", figures)
    hours = facts.disk / WAV_HOUR
    says = f"{facts.disk / 1e9:.1f} GB free where sessions are kept: {hours:,.0f} hours with --record"
    if hours < LEAST_HOURS:
        return Check("disk", WARNING, f"{says}; free some of it.", figures)
    return Check("disk", OK, f"{says}.", figures)
