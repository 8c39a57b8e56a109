"""`device-asr soak`: the interface for minutes, and whether its memory, its cost and its drawing stay as they were."""

from __future__ import annotations

import json
import shlex
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from device_asr.commands.microphone_option import with_microphone
from device_asr.errors import AudioError, DeviceAsrError, UsageError

if TYPE_CHECKING:
    from device_asr.config import Config


def table(found: dict[str, Any]) -> str:
    """The figures, one a line."""
    memory, draws = found["memory"], found["draws_per_second"]

    def mega(value: float) -> str:
        return f"{value / 1e6:.1f}"

    rows = {
        "interface": f"{found['minutes']:g} min over {found['source']}, of which {found['warm_up_s']:.0f} s warm-up",
        "memory": f"{mega(memory['first_bytes'])} -> {mega(memory['last_bytes'])} MB, "
                  f"at most {mega(memory['max_bytes'])} MB",
        "memory slope": f"{mega(memory['slope_bytes_per_hour'])} ± {mega(memory['slope_error_bytes_per_hour'])} "
                        "MB an hour",
        "CPU": f"{100 * found['cpu']:.0f} % of one core",
        "updates": f"{found['updates_per_second']:.1f} a second, of which drawn (something had changed) "
                   f"{draws['mean']:.1f}, median {draws['p50']:.1f}",
        "overflows": f"{found['overflows']} ({found['lost_s']:.1f} s lost)",
        "heard": f"{found['phrases']} phrases, {found['words']} words",
    }
    for name in ("first_partial_s", "word_emission_s", "finalisation_s", "finalisation_no_hangover_s"):
        series = found[name]
        if series["count"]:
            rows[name.removesuffix("_s").replace("_", " ")] = f"p50 {series['p50']:.2f} s, p95 {series['p95']:.2f} s"
    return "\n".join(f"{name:<26}{text}" for name, text in rows.items())


@click.command(name="soak")
@click.option("--minutes", type=click.FloatRange(min=0.2), default=30.0, show_default=True, help="How long.")
@click.option("--sound", metavar="FILE", help="Said again and again.  [default: the shipped letter]")
@click.option("--player", metavar="COMMAND", help="Plays the sound into the microphone, such as `paplay`; "
                                                  "without one the file is played as `--source` does.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_microphone
def command(minutes: float, sound: str | None, player: str | None, as_json: bool, config: Config) -> None:
    """Run the interface for a long time and measure memory, CPU and drawing; needs no terminal."""
    from device_asr.commands.bench import progress_bars
    from device_asr.commands.demo import shipped_sound

    try:
        from device_asr.bench.soak import soak
    except ImportError:
        raise DeviceAsrError("soak wants a pseudo-terminal, which this system does not have.") from None
    path = Path(sound) if sound else shipped_sound()
    if not path.is_file():
        raise AudioError(f"{path}: no such sound file.")
    if config.audio.devices and not player:
        raise UsageError("A microphone hears nothing by itself: give --player COMMAND, such as --player paplay.")
    _check_microphone(config, player)
    with tempfile.TemporaryDirectory(prefix="soak-") as name, progress_bars() as progress:
        config = replace(config, session=replace(config.session, folder=name))
        task = progress.add_task("the interface", total=60 * minutes)
        found = soak(config, path.resolve(), minutes, shlex.split(player or ""), Path(name),
                     lambda seconds: progress.update(task, completed=seconds))
    click.echo(json.dumps(found, ensure_ascii=False, indent=2) if as_json else table(found))


def _check_microphone(config: Config, player: str | None) -> None:
    """DeviceError before the minutes, not after."""
    if player:
        from device_asr.devices import choose, list_devices, silenced_libraries

        with silenced_libraries():
            choose(list_devices(), config.audio.devices)
