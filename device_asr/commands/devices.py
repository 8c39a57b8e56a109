"""`device-asr devices`: the microphones, the one that would be used, and a test of its level."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from device_asr.commands.parts.microphone import with_microphone
from device_asr.commands.parts.progress import progress_bars
from device_asr.console import FiniteRange, echo
from device_asr.errors import DeviceError

if TYPE_CHECKING:
    from device_asr.audio.devices import Device
    from device_asr.audio.level import Level
    from device_asr.audio.level_test import LevelTest, MeasuredLevel
    from device_asr.config import AudioConfig, Config

PIPED_TEST = 5.0  # seconds that --test lasts where there is no terminal to press Ctrl-C on


def listing(found: list[Device], used: Device | None) -> str:
    """A table of `found`: `*` marks the system's default, `>` the one that would be used."""
    rows = [
        (
            ">" if device == used else "",
            "*" if device.default else "",
            str(device.index),
            device.name,
            device.host,
            str(device.channels),
            f"{device.rate} Hz",
        )
        for device in found
    ]
    header = ("", "", "index", "name", "system", "channels", "rate")
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]
    return "\n".join([*lines, "", "> would be used   * the system's default"])


def measure_device(audio: AudioConfig, seconds: float | None) -> MeasuredLevel:
    """Tests a microphone for `seconds` (None: until Ctrl-C), with a meter on a terminal.

    Raises:
        DeviceError: no microphone, or it was unplugged meanwhile.
    """
    from rich.progress import BarColumn, TextColumn

    from device_asr.audio.level import FLOOR_DB
    from device_asr.audio.level_test import record_level

    meter = progress_bars(
        BarColumn(None),
        TextColumn("{task.fields[level]} {task.fields[verdict]}"),
    )
    task = meter.add_task("", total=-FLOOR_DB, level="", verdict="")

    def show(name: str, level: Level, test: LevelTest) -> None:
        meter.update(
            task,
            description=name,
            completed=level.peak_db - FLOOR_DB,
            verdict=test.verdict(),
            level=f"peak {level.peak_db:6.1f} dBFS  rms {level.rms_db:6.1f} dBFS",
        )

    with meter:
        return record_level(audio, seconds, show)


@click.command(name="devices")
@click.option("--test", is_flag=True, help="Show a level meter of the one that would be used, until Ctrl-C.")
@click.option("--seconds", type=FiniteRange(min=0.1), help="End --test after this time.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_microphone
def command(test: bool, seconds: float | None, as_json: bool, config: Config) -> None:
    """List the microphones, or test one."""
    from device_asr.audio.devices import choose, list_devices, silenced_libraries

    audio = config.audio
    with silenced_libraries():
        if test:
            if seconds is None and not sys.stderr.isatty():
                seconds = PIPED_TEST
            _print_test(measure_device(audio, seconds), as_json)
            return
        found = list_devices()
        try:
            used = choose(found, audio.devices)
        except DeviceError as error:
            if not found and not as_json:
                raise
            used = None
            echo(str(error), err=True)
    if as_json:
        echo(json.dumps([_record(d, used) for d in found], ensure_ascii=False, indent=2))
    else:
        echo(listing(found, used))


def _record(device: Device, used: Device | None) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(device), "used": device == used}


def _print_test(measured: MeasuredLevel, as_json: bool) -> None:
    name, result = measured.name, measured.result
    if as_json:
        echo(
            json.dumps(
                {
                    "device": name,
                    "peak_db": round(result.peak_db, 1),
                    "rms_db": round(result.rms_db, 1),
                    "clipped": result.clipped,
                    "silent": result.silent,
                },
                ensure_ascii=False,
            )
        )
    else:
        echo(f"{name}: peak {result.peak_db:.1f} dBFS, rms {result.rms_db:.1f} dBFS, {result.verdict()}")
