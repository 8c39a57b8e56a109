"""`device-asr bench`: accuracy, latency, computation and memory over corpora, beside a peer and the teacher."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from device_asr.audio.devices import silenced_libraries
from device_asr.commands.parts.options import as_options, configured, read_settings
from device_asr.commands.parts.progress import progress_bars
from device_asr.console import FiniteRange, echo
from device_asr.errors import UsageError

if TYPE_CHECKING:
    from device_asr.config import Config, LoadedConfig

TAIL_BEYOND_HANGOVER = 0.4  # seconds; the voice activity detector lags behind the end of speech


@dataclass(frozen=True)
class BenchOptions:
    """The options of `device-asr bench`; combinations that mean nothing are refused before any work.

    Raises:
        UsageError: such a combination was found.
    """

    manifests: tuple[str, ...]
    peer: tuple[str, ...]
    against: tuple[str, ...]
    teacher: tuple[Path, ...]
    noise: float | None
    limit: int | None
    partials: bool | None
    guards: str | None
    tail: float | None
    realtime: bool
    device: str | None
    player: str | None
    seconds: float | None
    detail: Path | None
    as_json: bool

    def __post_init__(self) -> None:
        if self.realtime and (self.peer or self.noise or self.against):
            raise UsageError("--peer, --against and --noise are measured as fast as possible; leave out --realtime.")
        if (self.peer or self.against) and not self.manifests:
            raise UsageError("--peer and --against want a MANIFEST (a JSONL file).")
        if not self.realtime and (self.device or self.player or self.seconds):
            raise UsageError("--device, --player and --seconds want --realtime.")
        if self.device or self.player or self.seconds:
            self._check_microphone()
        if self.teacher and len(self.teacher) != len(self.manifests):
            raise UsageError(
                f"--teacher: wanted a FILE for each MANIFEST in the same order, found {len(self.teacher)} files for "
                f"{len(self.manifests)} manifests."
            )
        if len(set(self.manifests)) != len(self.manifests):
            raise UsageError("A manifest was given twice; give each once.")
        if not self.manifests and not self.noise and not self.device:
            raise UsageError("Nothing to measure: wanted a MANIFEST (a JSONL file) or --noise SECONDS, found neither.")

    def _check_microphone(self) -> None:
        if (self.player or self.seconds) and not self.device:
            raise UsageError(
                "--player and --seconds want a microphone: --device NAME (`device-asr devices` lists them)."
            )
        if self.manifests and not self.player:
            raise UsageError(
                "A microphone records a MANIFEST only where --player COMMAND plays it, such as --player paplay."
            )
        if not self.manifests and (self.player or self.teacher):
            raise UsageError("--player and --teacher want a MANIFEST (a JSONL file).")

    def others(self) -> dict[str, str]:
        """The settings of the other side by `section.name`; empty: there is none.

        Raises:
            UsageError: an entry of --against is empty.
        """
        settings = (one if "=" in one else f"model.name={one}" for one in self.against)
        return read_settings("--against", settings)

    def applied(self, config: Config) -> Config:
        """`config` with the settings that these options change."""
        if self.partials is not None:
            config = replace(config, partial=replace(config.partial, enabled=self.partials))
        if self.guards is not None:
            config = replace(config, decoding=replace(config.decoding, guards=self.guards == "on"))
        if self.device is not None:
            config = replace(config, audio=replace(config.audio, devices=(self.device,)))
        return config


@click.command(name="bench")
@click.argument("manifests", nargs=-1, metavar="MANIFEST...")
@click.option(
    "--peer",
    type=click.Choice(["faster-whisper", "moonshine"]),
    multiple=True,
    help="Run it beside on the same clips, with as many threads: faster-whisper with Whisper tiny.en in int8, or "
    "Moonshine base on ONNX Runtime; repeatable.",
)
@click.option(
    "--against",
    multiple=True,
    metavar="MODEL|SECTION.NAME=VALUE",
    help="Recognize the same clips with this model or setting too, and print the differences; repeatable, and all "
    "together make the other side.",
)
@click.option(
    "--teacher",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="The teacher's texts, for its WER beside ours: `device-asr-compress evaluate tiny.en MANIFEST --json > FILE` "
    "writes them. With several manifests give one for each, in the same order.",
)
@click.option(
    "--noise",
    type=FiniteRange(min=1),
    metavar="SECONDS",
    help="Recognize this long of white, pink, hum, clicks and silence, and count the words made of it.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N clips of each manifest.")
@click.option("--partials/--no-partials", default=None, help="Text while an utterance goes on, or finals alone.")
@click.option("--guards", type=click.Choice(["on", "off"]), help="The guards against loops and invented text.")
@click.option(
    "--tail",
    type=FiniteRange(min=0),
    metavar="SECONDS",
    help="Silence after each clip, so that utterances end by themselves.  [default: hang-over + 0.4]",
)
@click.option("--realtime", is_flag=True, help="In real time, latencies on the wall clock.")
@click.option("--device", metavar="NAME", help="With --realtime: this microphone instead of the files.")
@click.option("--player", metavar="COMMAND", help="With --device: plays a clip into it, such as `paplay`.")
@click.option("--seconds", type=FiniteRange(min=1), help="With --device and no manifest: end after this time.")
@click.option(
    "--detail",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write one JSON object a clip, and print what was lost (sound, finals) and invented (words an hour).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@as_options(BenchOptions)
@configured
def command(loaded: LoadedConfig, options: BenchOptions) -> None:
    """Measure accuracy, latency and computation over corpora (JSONL manifests of audio and text)."""
    from device_asr.bench.suite import Microphone, Plan, as_fast_as_possible, in_real_time, read_test_sets
    from device_asr.bench.table import table
    from device_asr.metrics.wer import check_installed

    if options.manifests:
        check_installed()
    config = options.applied(loaded.config)
    tail = options.tail
    if tail is None:
        tail = config.endpoint.hangover_ms / 1000 + TAIL_BEYOND_HANGOVER
    test_sets = read_test_sets([Path(path) for path in options.manifests], options.limit)
    plan = Plan(test_sets, tail, options.noise, options.peer, options.teacher, options.detail, options.others())
    with silenced_libraries(output=True), progress_bars() as progress:
        if options.realtime:
            player = shlex.split(options.player or "")
            microphone = Microphone(player, options.seconds) if options.device is not None else None
            found = in_real_time(config, plan, microphone, progress)
        else:
            found = as_fast_as_possible(config, plan, progress)
    text = table(found, promises=options.detail is not None)
    echo(json.dumps(found, ensure_ascii=False, indent=2) if options.as_json else text)
