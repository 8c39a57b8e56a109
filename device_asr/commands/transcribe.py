"""`device-asr transcribe`: audio files or raw PCM to text."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from device_asr.audio.devices import silenced_libraries
from device_asr.audio.format import SAMPLE_RATE
from device_asr.commands.parts.options import as_options, configured
from device_asr.commands.parts.output import Output, output_paths
from device_asr.commands.parts.progress import LiveLine, progress_bars
from device_asr.commands.parts.termination import termination_as_interrupt
from device_asr.commands.parts.timing import Timing
from device_asr.console import echo
from device_asr.errors import BundleError, DeviceAsrError, OutputError, UsageError
from device_asr.events import Event, Final, Partial, Seconds, shifted
from device_asr.writers import FORMATS

if TYPE_CHECKING:
    from device_asr.audio.file import FileSource
    from device_asr.audio.live_source import LiveSource
    from device_asr.audio.stdin import StdinSource
    from device_asr.config import Config, LoadedConfig
    from device_asr.recognition.protocol import Recognizer


@dataclass(frozen=True)
class TranscribeOptions:
    """The options of `device-asr transcribe`; encoding, rate and channels are those of raw PCM."""

    files: tuple[str, ...]
    format: str
    out: Path | None
    realtime: bool
    timing: bool
    encoding: str
    rate: int
    channels: int

    def __post_init__(self) -> None:
        if self.files.count("-") > 1:
            raise UsageError("FILE: - stands for standard input and was given twice; there is only one.")


@click.command(name="transcribe")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--format", type=click.Choice(FORMATS), default="txt", show_default=True, help="What to write.")
@click.option("--out", type=click.Path(path_type=Path), help="File, or folder for several; else standard output.")
@click.option("--realtime", is_flag=True, help="Feed in real time and show partials on a terminal.")
@click.option("--timing", is_flag=True, help="Print seconds of import, load and compute as JSON on standard error.")
@click.option("--encoding", type=click.Choice(["s16le", "f32le"]), default="s16le", help="Of raw PCM, for -.")
@click.option("--rate", type=int, default=SAMPLE_RATE, show_default=True, help="Hz of raw PCM, for -.")
@click.option("--channels", type=click.IntRange(1, 64), default=1, show_default=True, help="Of raw PCM, for -.")
@as_options(TranscribeOptions)
@configured
def command(loaded: LoadedConfig, options: TranscribeOptions) -> int:
    """Transcribe audio files (wav, flac, mp3, ogg...), or raw PCM from standard input with -."""
    timer = Timing()
    paths = output_paths(options.files, options.out, options.format)
    config = loaded.config
    if not (options.realtime and sys.stderr.isatty()):  # partials that nobody sees are not computed
        config = replace(config, partial=replace(config.partial, enabled=False))
    # libmpg123 prints a line of its own for every frame that it finds odd, libsndfile some on standard output
    with silenced_libraries(output=True), termination_as_interrupt():
        failures = _transcribe_all(config, options, paths, timer)
    if options.timing:
        echo(timer.report(), err=True)
    return 1 if failures else 0


def _transcribe_all(config: Config, options: TranscribeOptions, paths: Sequence[Path | None], timer: Timing) -> int:
    """Transcribes each file to its path; returns how many failed."""
    recognizer = None
    failures = 0
    for file, path in zip(options.files, paths, strict=True):
        try:
            source = _open(file, options)
            recognizer = recognizer or _load(config, timer)
            output = Output(options.format, path, private=config.session.private)
            _transcribe(recognizer, source, output, options.realtime, timer)
            for note in source.notes():
                echo(f"device-asr: {note}", err=True)
        except UsageError:
            raise
        except DeviceAsrError as error:
            failures += 1
            echo(f"device-asr: {error}", err=True)
            if isinstance(error, BundleError) or (isinstance(error, OutputError) and path is None):
                break  # the other files would fail alike
            if recognizer is not None:
                recognizer.finish()  # the utterance that was cut off does not run into the next file
    return failures


def _open(file: str, options: TranscribeOptions) -> FileSource | StdinSource:
    if file == "-":
        from device_asr.audio.stdin import StdinSource

        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError(
                "standard input: wanted raw PCM, found a terminal or nothing; pipe it in, as from "
                "`ffmpeg -i IN -f s16le -ar 16000 -ac 1 -`."
            )
        return StdinSource(sys.stdin.buffer, options.encoding, options.rate, options.channels)
    from device_asr.audio.file import FileSource

    return FileSource(Path(file))


def _load(config: Config, timer: Timing) -> Recognizer:
    from device_asr.recognition.assemble import assemble

    timer.imported = timer.since_start()
    recognizer = assemble(config)
    timer.loaded = timer.since_start() - timer.imported
    return recognizer


def _transcribe(
    recognizer: Recognizer, source: FileSource | StdinSource, output: Output, realtime: bool, timer: Timing
) -> None:
    """Transcribes one source to its end; a file that was half-written is taken away after a failure."""
    chunks = _in_real_time(source) if realtime else source
    screen = _Screen(source.name, source.seconds, realtime)
    origin, done = recognizer.time, 0.0
    try:
        for chunk in chunks:
            began = time.perf_counter()
            events = recognizer.feed(chunk.pcm)
            timer.compute += time.perf_counter() - began
            done += len(chunk.pcm) / SAMPLE_RATE
            _show(events, origin, output, screen)
            screen.progress(done)
        began = time.perf_counter()
        events = recognizer.finish()
        timer.compute += time.perf_counter() - began
        _show(events, origin, output, screen)
        timer.audio += done
        output.done()
    except BaseException:
        output.abandon()
        raise
    finally:
        screen.close()
        source.close()


def _in_real_time(source: FileSource | StdinSource) -> LiveSource:
    from device_asr.audio.realtime import RealtimeSource

    chunks = RealtimeSource(source)
    chunks.start()
    return chunks


def _show(events: Sequence[Event], origin: Seconds, output: Output, screen: _Screen) -> None:
    for event in events:
        if isinstance(event, Final):
            screen.line.clear()
            output.final(shifted(event, -origin))  # times count from the start of the file
        elif isinstance(event, Partial):
            screen.partial(event.text)


class _Screen:
    """What a terminal shows meanwhile: a progress bar, or the partial of a run in real time."""

    def __init__(self, name: str, seconds: Seconds | None, realtime: bool) -> None:
        self.line = LiveLine(sys.stderr)
        self._realtime = realtime
        self._bar = None
        if self.line.terminal and not realtime:
            self._bar = progress_bars()
            self._task = self._bar.add_task(Path(name).name, total=seconds)
            self._bar.start()

    def progress(self, done: Seconds) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=done)

    def partial(self, text: str) -> None:
        if self._realtime:
            self.line.draw(text)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self.line.clear()
