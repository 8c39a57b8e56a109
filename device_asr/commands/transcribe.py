"""`device-asr transcribe`: audio files or raw PCM to text."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from device_asr.audio.devices import silenced_libraries
from device_asr.audio.format import SAMPLE_RATE
from device_asr.commands.options import configured
from device_asr.commands.termination import termination_as_interrupt
from device_asr.errors import BundleError, DeviceAsrError, OutputError, UsageError
from device_asr.events import Final, Partial
from device_asr.files import WholeFile
from device_asr.writers import FORMATS, make_writer

if TYPE_CHECKING:
    from device_asr.audio.file import FileSource
    from device_asr.audio.stdin import StdinSource
    from device_asr.config import Config, LoadedConfig
    from device_asr.recognition.recognizer import StreamingRecognizer


class Timing:
    """Seconds of the stages, counted from the start of the process."""

    def __init__(self) -> None:
        self._start = time.perf_counter() - _lived()
        self.imported = self.loaded = 0.0
        self.audio = self.compute = 0.0

    def since_start(self) -> float:
        """Seconds since the process started."""
        return time.perf_counter() - self._start

    def report(self) -> str:
        """One line of JSON."""
        import json

        rtf = round(self.compute / self.audio, 4) if self.audio else None
        return json.dumps(
            {
                "import_s": round(self.imported, 3),
                "load_s": round(self.loaded, 3),
                "import_and_load_s": round(self.imported + self.loaded, 3),
                "audio_s": round(self.audio, 3),
                "compute_s": round(self.compute, 3),
                "rtf": rtf,
                "start_to_text_s": round(self.since_start(), 3),
            }
        )


def _lived() -> float:
    """Seconds since this process started; on Linux to 10 ms.

    psutil adds the kernel's ticks to its boot time, which is in whole seconds: found 0.94 s too long.
    """
    if sys.platform == "linux":
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    import psutil

    return time.time() - float(psutil.Process().create_time())


class Output:
    """Where the text of one audio goes: standard output, or a file that is put in place when it is whole."""

    def __init__(self, format: str, path: Path | None) -> None:
        self._writer, self._path = make_writer(format), path
        self._file: WholeFile | None = None
        with self._failing():
            if path is not None:
                self._file = WholeFile(path)
            elif isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(errors="replace")  # a terminal or pipe may not have every letter
            self._write(self._writer.header())

    def final(self, final: Final) -> None:
        """Appends an utterance."""
        with self._failing():
            self._write(self._writer.final(final))

    def done(self) -> None:
        """Puts the file in its place."""
        if self._file is not None:
            with self._failing():
                self._file.done()

    def abandon(self) -> None:
        """Takes a half-written file away."""
        if self._file is not None:
            self._file.abandon()

    def _write(self, text: str) -> None:
        if self._file is not None:
            self._file.write(text)
        else:
            sys.stdout.write(text)
            sys.stdout.flush()

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            self.abandon()
            where = self._path or "standard output"
            if self._path is None:  # Python must not fail a second time when it flushes at exit
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            wanted = "free the disk or choose" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "choose"
            raise OutputError(
                f"{where}: could not be written ({error.strerror}); {wanted} another place with --out. "
                "No partial file was left."
            ) from None


def output_paths(files: tuple[str, ...], out: Path | None, format: str) -> list[Path | None]:
    """Where the text of each file goes; several files need a folder.

    Raises:
        UsageError: several files and an --out that is no folder, or a text that would overwrite an audio file or
            another text.
    """
    paths = _output_paths(files, out, format)
    recordings = {Path(file).resolve() for file in files if file != "-"}
    for path in paths:
        if path is not None and path.resolve() in recordings:
            raise UsageError(f"--out: {path} is one of the recordings and would be overwritten; choose another name.")
    return paths


def _output_paths(files: tuple[str, ...], out: Path | None, format: str) -> list[Path | None]:
    if out is None:
        return [None] * len(files)
    if len(files) == 1 and not out.is_dir():
        if not out.parent.is_dir():
            raise UsageError(f"--out: the folder {out.parent} does not exist; make it first.")
        return [out]
    if not out.is_dir():
        raise UsageError(f"--out: wanted a folder for {len(files)} files, found {out}; make it first.")
    names = [f"{'stdin' if file == '-' else Path(file).stem}.{format}" for file in files]
    if len(set(names)) < len(names):
        raise UsageError(
            "--out: two of the files have the same name and would overwrite one another; transcribe them one by one."
        )
    return [out / name for name in names]


@click.command(name="transcribe")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--format", type=click.Choice(FORMATS), default="txt", show_default=True, help="What to write.")
@click.option("--out", type=click.Path(path_type=Path), help="File, or folder for several; else standard output.")
@click.option("--realtime", is_flag=True, help="Feed at the speed of sound and show partials on a terminal.")
@click.option("--timing", is_flag=True, help="Print seconds of import, load and compute as JSON on standard error.")
@click.option("--encoding", type=click.Choice(["s16le", "f32le"]), default="s16le", help="Of raw PCM, for -.")
@click.option("--rate", type=int, default=SAMPLE_RATE, show_default=True, help="Hz of raw PCM, for -.")
@click.option("--channels", type=click.IntRange(1, 64), default=1, show_default=True, help="Of raw PCM, for -.")
@configured
def command(
    loaded: LoadedConfig,
    files: tuple[str, ...],
    format: str,
    out: Path | None,
    realtime: bool,
    timing: bool,
    encoding: str,
    rate: int,
    channels: int,
) -> int:
    """Transcribe audio files (wav, flac, mp3, ogg...), or raw PCM from standard input with -."""
    timer = Timing()
    if files.count("-") > 1:
        raise UsageError("FILE: - stands for standard input and was given twice; there is only one.")
    paths = output_paths(files, out, format)
    config = loaded.config
    if not (realtime and sys.stderr.isatty()):  # partials that nobody sees are not computed
        config = replace(config, partial=replace(config.partial, enabled=False))
    recognizer = None
    failures = 0
    # libmpg123 has a line of its own for every frame that it finds odd
    with silenced_libraries(), termination_as_interrupt():
        for file, path in zip(files, paths, strict=True):
            try:
                source = _open(file, encoding, rate, channels)
                recognizer = recognizer or _load(config, timer)
                _transcribe(recognizer, source, Output(format, path), realtime, timer)
                for note in source.notes():
                    click.echo(f"device-asr: {note}", err=True)
            except UsageError:
                raise
            except DeviceAsrError as error:
                failures += 1
                click.echo(f"device-asr: {error}", err=True)
                if isinstance(error, BundleError) or (isinstance(error, OutputError) and path is None):
                    break  # the other files would fail alike
                if recognizer is not None:
                    recognizer.finish()  # the utterance that was cut off does not run into the next file
    if timing:
        click.echo(timer.report(), err=True)
    return 1 if failures else 0


def _open(file: str, encoding: str, rate: int, channels: int) -> FileSource | StdinSource:
    if file == "-":
        from device_asr.audio.stdin import StdinSource

        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError(
                "standard input: wanted raw PCM, found a terminal or nothing; pipe it in, as from "
                "`ffmpeg -i IN -f s16le -ar 16000 -ac 1 -`."
            )
        return StdinSource(sys.stdin.buffer, encoding, rate, channels)
    from device_asr.audio.file import FileSource

    return FileSource(Path(file))


def _load(config: Config, timer: Timing) -> StreamingRecognizer:
    from device_asr.recognition.recognizer import StreamingRecognizer

    timer.imported = timer.since_start()
    recognizer = StreamingRecognizer.from_config(config)
    timer.loaded = timer.since_start() - timer.imported
    return recognizer


def _transcribe(recognizer: StreamingRecognizer, source: Any, output: Output, realtime: bool, timer: Timing) -> None:
    chunks = source
    if realtime:
        from device_asr.audio.realtime import RealtimeSource

        chunks = RealtimeSource(source)
        chunks.start()
    line = _Line(source.name, source.seconds, realtime)
    origin, heard = recognizer.time, 0.0
    try:
        for chunk in chunks:
            began = time.perf_counter()
            events = recognizer.feed(chunk.pcm)
            timer.compute += time.perf_counter() - began
            heard += len(chunk.pcm) / SAMPLE_RATE
            _show(events, origin, output, line, heard)
        began = time.perf_counter()
        events = recognizer.finish()
        timer.compute += time.perf_counter() - began
        _show(events, origin, output, line, heard)
        timer.audio += heard
        output.done()
    except BaseException:
        output.abandon()
        raise
    finally:
        line.close()
        source.close()


def _show(events: list[Any], origin: float, output: Output, line: _Line, heard: float) -> None:
    for event in events:
        if isinstance(event, Final):
            line.clear()
            output.final(_shifted(event, origin))
        elif isinstance(event, Partial):
            line.partial(event.text)
    line.progress(heard)


def _shifted(final: Final, origin: float) -> Final:
    """The utterance with times from the start of its own file."""
    if not origin:
        return final
    words = tuple(replace(w, start=round(w.start - origin, 3), end=round(w.end - origin, 3)) for w in final.words)
    return replace(
        final,
        start=round(final.start - origin, 3),
        end=round(final.end - origin, 3),
        time=round(final.time - origin, 3),
        words=words,
    )


class _Line:
    """The moving line on a terminal: a progress bar, or the partial of a real-time run; nothing in a pipe."""

    def __init__(self, name: str, seconds: float | None, realtime: bool) -> None:
        self._live = sys.stderr.isatty()
        self._bar = None
        self._realtime = realtime
        if self._live and not realtime:
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(Path(name).name, total=seconds)
            self._bar.start()

    def progress(self, heard: float) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=heard)

    def partial(self, text: str) -> None:
        if self._live and self._realtime:
            width = (os.get_terminal_size(sys.stderr.fileno()).columns or 80) - 1  # 0: not known
            print(f"\r\x1b[2K{text[-width:]}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._live and self._realtime:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self.clear()
