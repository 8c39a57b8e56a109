"""`device-asr bench`: accuracy, latency, computation and memory over corpora, beside a peer and the teacher."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from device_asr.audio.devices import silenced_libraries
from device_asr.commands.options import configured
from device_asr.errors import UsageError

if TYPE_CHECKING:
    from rich.progress import Progress

    from device_asr.config import LoadedConfig

TAIL_BEYOND_HANGOVER = 0.4  # seconds; the voice activity detector lags behind the end of speech


@contextlib.contextmanager
def progress_bars() -> Iterator[Progress]:
    """Bars on standard error where it is a terminal, else nothing."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        yield progress


@click.command(name="bench")
@click.argument("manifests", nargs=-1, metavar="MANIFEST...")
@click.option(
    "--peer",
    type=click.Choice(["faster-whisper"]),
    help="Run it beside, int8 with the teacher's weights, on the same clips.",
)
@click.option("--teacher", is_flag=True, help="Also the teacher's WER: 30 s of context, greedy, fp32.")
@click.option(
    "--noise",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    help="Hear this long of white, pink, hum, clicks and silence, and count the words made of it.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N clips of each manifest.")
@click.option("--partials/--no-partials", default=None, help="Text while an utterance goes on, or finals alone.")
@click.option("--guards", type=click.Choice(["on", "off"]), help="The guards against loops and invented text.")
@click.option(
    "--tail",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Silence after each clip, so that utterances end by themselves.  [default: hang-over + 0.4]",
)
@click.option("--realtime", is_flag=True, help="At the speed of sound, latencies on the wall clock.")
@click.option("--device", metavar="NAME", help="With --realtime: hear this microphone, not the files.")
@click.option("--player", metavar="COMMAND", help="With --device: plays a clip into it, such as `paplay`.")
@click.option("--seconds", type=click.FloatRange(min=1), help="With --device and no manifest: end after this time.")
@click.option(
    "--detail", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write one JSON object a clip."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@configured
def command(
    loaded: LoadedConfig,
    manifests: tuple[str, ...],
    peer: str | None,
    teacher: bool,
    noise: float | None,
    limit: int | None,
    partials: bool | None,
    guards: str | None,
    tail: float | None,
    realtime: bool,
    device: str | None,
    player: str | None,
    seconds: float | None,
    detail: Path | None,
    as_json: bool,
) -> None:
    """Measure accuracy, latency and computation over corpora (JSONL manifests of audio and text)."""
    from device_asr.bench.report import table
    from device_asr.bench.suite import Microphone, Plan, as_fast_as_possible, in_real_time, read_test_sets

    _check_usage(
        manifests,
        realtime=realtime,
        device=device,
        player=player,
        seconds=seconds,
        noise=noise,
        peer=peer,
        teacher=teacher,
    )
    config = loaded.config
    if partials is not None:
        config = replace(config, partial=replace(config.partial, enabled=partials))
    if guards is not None:
        config = replace(config, decoding=replace(config.decoding, guards=guards == "on"))
    if device is not None:
        config = replace(config, audio=replace(config.audio, devices=(device,)))
    if tail is None:
        tail = config.endpoint.hangover_ms / 1000 + TAIL_BEYOND_HANGOVER
    test_sets = read_test_sets([Path(path) for path in manifests], limit)
    plan = Plan(test_sets, tail, noise, peer is not None, teacher, detail)
    with silenced_libraries(), progress_bars() as progress:  # libmpg123, ALSA, JACK and PortAudio write there
        if realtime:
            microphone = Microphone(shlex.split(player or ""), seconds) if device is not None else None
            found = in_real_time(config, plan, microphone, progress)
        else:
            found = as_fast_as_possible(config, plan, progress)
    click.echo(json.dumps(found, ensure_ascii=False, indent=2) if as_json else table(found))


def _check_usage(
    manifests: tuple[str, ...],
    *,
    realtime: bool,
    device: str | None,
    player: str | None,
    seconds: float | None,
    noise: float | None,
    peer: str | None,
    teacher: bool,
) -> None:
    """Combinations that mean nothing are told before any work.

    Raises:
        UsageError: one of them was found.
    """
    if realtime and (peer or noise):
        raise UsageError("--peer and --noise are measured as fast as possible; leave out --realtime.")
    if not realtime and (device or player or seconds):
        raise UsageError("--device, --player and --seconds want --realtime.")
    if (player or seconds) and not device:
        raise UsageError("--player and --seconds want a microphone: --device NAME (`device-asr devices` lists them).")
    if device and manifests and not player:
        raise UsageError("A microphone hears a MANIFEST only where --player COMMAND plays it, such as --player paplay.")
    if device and not manifests and (player or teacher):
        raise UsageError("--player and --teacher want a MANIFEST (a JSONL file).")
    if len(set(manifests)) != len(manifests):
        raise UsageError("A manifest was given twice; give each once.")
    if not manifests and not noise and not device:
        raise UsageError("Nothing to measure: wanted a MANIFEST (a JSONL file) or --noise SECONDS, found neither.")
