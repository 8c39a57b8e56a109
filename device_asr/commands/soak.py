"""`device-asr soak`: runs the interface for minutes and measures its memory, its cost and its drawing."""

from __future__ import annotations

import json
import shlex
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from device_asr.commands.parts.microphone import with_microphone
from device_asr.commands.parts.progress import progress_bars
from device_asr.console import FiniteRange, echo
from device_asr.errors import AudioError, DeviceAsrError, UsageError

if TYPE_CHECKING:
    from device_asr.config import Config

LOOK = 10.0  # seconds of audio between two readings of the memory


def table(found: dict[str, Any]) -> str:
    """The figures, one a line."""
    draws = found["draws_per_second"]
    rows = {
        "interface": f"{found['minutes']:g} min over {found['source']}, of which {found['warm_up_s']:.0f} s warm-up",
        **_memory(found),
        "  of the last two thirds": f"{found['memory']['settled_slope_bytes_per_hour'] / 1e6:.1f} MB an hour",
        **_long_run(found),
        "CPU": f"{100 * found['cpu']:.0f} % of one core",
        "updates": f"{found['updates_per_second']:.1f} a second, of which drawn (something had changed) "
        f"{draws['mean']:.1f}, median {draws['p50']:.1f}",
        "overflows": f"{found['overflows']} ({found['lost_s']:.1f} s lost)",
        "recognized": f"{found['utterances']} utterances, {found['words']} words",
    }
    for name in ("first_partial_s", "word_emission_s", "finalization_s", "finalization_no_hangover_s"):
        series = found[name]
        if series["count"]:
            rows[name.removesuffix("_s").replace("_", " ")] = f"p50 {series['p50']:.2f} s, p95 {series['p95']:.2f} s"
    return "\n".join(f"{name:<26}{text}" for name, text in rows.items())


@click.command(name="soak")
@click.option("--minutes", type=FiniteRange(min=0.2), default=30.0, show_default=True, help="How long.")
@click.option("--audio", metavar="FILE", help="Played again and again.  [default: the shipped letter]")
@click.option(
    "--player",
    metavar="COMMAND",
    help="Plays the audio into the microphone, such as `paplay`; without one the file is played as `--source` does.",
)
@click.option(
    "--fed",
    type=click.Path(path_type=Path),
    metavar="MANIFEST",
    help="No interface: feed the recognizer these clips, joined without a pause, as fast as it can.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_microphone
def command(
    minutes: float, audio: str | None, player: str | None, fed: Path | None, as_json: bool, config: Config
) -> None:
    """Run the interface for a long time and measure memory, CPU and drawing; needs no terminal."""
    if fed is not None:
        if audio or player:
            raise UsageError("--fed feeds the recognizer alone: leave out --audio and --player.")
        found = _fed(config, fed, minutes)
        echo(json.dumps(found, ensure_ascii=False, indent=2) if as_json else fed_table(found))
        return
    from device_asr.commands.demo import shipped_audio

    try:
        from device_asr.bench.soak import soak
    except ImportError:
        raise DeviceAsrError("soak wants a pseudo-terminal, which this system does not have.") from None
    path = Path(audio) if audio else shipped_audio()
    if not path.is_file():
        raise AudioError(f"{path}: no such audio file.")
    if config.audio.devices and not player:
        raise UsageError("A microphone needs audio to record: give --player COMMAND, such as --player paplay.")
    _check_microphone(config, player)
    with tempfile.TemporaryDirectory(prefix="soak-") as name, progress_bars() as progress:
        config = replace(config, session=replace(config.session, folder=name))
        task = progress.add_task("the interface", total=60 * minutes)
        found = soak(
            config,
            path.resolve(),
            minutes,
            shlex.split(player or ""),
            Path(name),
            lambda seconds: progress.update(task, completed=seconds),
        )
    echo(json.dumps(found, ensure_ascii=False, indent=2) if as_json else table(found))


def _fed(config: Config, manifest: Path, minutes: float) -> dict[str, Any]:
    from device_asr.bench.continuous import feed, growth, without_pauses
    from device_asr.bench.suite import read_test_sets
    from device_asr.bench.timed import timed_recognizer
    from device_asr.bundle.bundle import load

    (test_set,) = read_test_sets([manifest], None)
    timed = timed_recognizer(load(config.model.name), without_pauses(config))
    marks = []
    with progress_bars() as progress:
        task = progress.add_task("speech without a pause", total=60 * minutes)
        for mark in feed(timed, test_set.clips, 60 * minutes, every=min(LOOK, 6 * minutes)):
            marks.append(mark)
            progress.update(task, completed=mark.at)
    return {
        "minutes": minutes,
        "clips": len(test_set.clips),
        "words": marks[-1].words,
        **growth(marks),
        "partials_rtf": marks[-1].partials / marks[-1].at,
        "partials_mode": "stream" if timed.stream else "reencode",
    }


def fed_table(found: dict[str, Any]) -> str:
    """The figures of `--fed`, one a line."""
    rows = {
        "recognized": f"{found['minutes']:g} min of speech without a pause, {found['words']} words",
        **_memory(found),
        **_long_run(found),
        "RTF of partials": f"{found['partials_rtf']:.3f} ({found['partials_mode']})",
    }
    return "\n".join(f"{name:<26}{text}" for name, text in rows.items())


def _memory(found: dict[str, Any]) -> dict[str, str]:
    memory = {name: f"{value / 1e6:.1f}" for name, value in found["memory"].items()}
    return {
        "memory": f"{memory['first_bytes']} -> {memory['last_bytes']} MB, at most {memory['max_bytes']} MB",
        "memory slope": f"{memory['slope_bytes_per_hour']} ± {memory['slope_error_bytes_per_hour']} MB an hour",
    }


def _long_run(found: dict[str, Any]) -> dict[str, str]:
    """Descriptors and threads, and what would be after hours, along straight lines."""
    rows = {
        name: f"{found[name]['first']} -> {found[name]['last']}, at most {found[name]['max']}, "
        f"{found[name]['per_hour']:+.1f} an hour"
        for name in ("descriptors", "threads")
    }
    after = found["after"]
    rows[f"after {after['hours']} h at this rate"] = (
        f"{after['memory_bytes'] / 1e6:.0f} MB, {after['descriptors']:.0f} descriptors, {after['threads']:.0f} threads"
    )
    return rows


def _check_microphone(config: Config, player: str | None) -> None:
    """Raises DeviceError before the minutes, not after them."""
    if player:
        from device_asr.audio.devices import choose, list_devices, silenced_libraries

        with silenced_libraries():
            choose(list_devices(), config.audio.devices)
