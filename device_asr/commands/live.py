"""`device-asr` without a verb: the terminal interface over the microphone or a file."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from device_asr.commands.parts.microphone import with_microphone
from device_asr.console import echo
from device_asr.errors import DeviceAsrError, UsageError

if TYPE_CHECKING:
    from device_asr.audio.live_source import LiveSource
    from device_asr.config import Config


def run(config: Config, audio: Path | None = None) -> None:
    """Opens the interface; afterward prints where the text is kept.

    Raises:
        UsageError: this is no terminal.
        DeviceAsrError: the session failed, or some of its text or audio could not be kept.
    """
    # the screen is drawn on standard error
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "The interface needs a terminal; for pipes use `device-asr listen` or `device-asr transcribe FILE`."
        )
    from device_asr.audio.devices import silenced_libraries
    from device_asr.dictation import remote
    from device_asr.tui.app import DictationApp
    from device_asr.tui.hangup import forgiving_terminal

    with silenced_libraries(output=audio is not None), forgiving_terminal():
        app = DictationApp(_source(config, audio), lambda: remote.load(config), config)
        try:
            app.run()
        finally:
            app.close()
    problems = [app.failure, report(app.writer.path, app.unkept, app.trouble)]
    if any(problems):
        raise DeviceAsrError(" ".join(filter(None, problems)))


def report(path: Path, unkept: list[str], trouble: str | None) -> str | None:
    """Says where the text of a session is, once it was read from there, and prints what could not be kept.

    Args:
        path: of the session.
        unkept: texts that the disk has refused.
        trouble: why.

    Returns:
        A sentence about what could not be kept; None: everything was.
    """
    from device_asr.dictation.history import load
    from device_asr.dictation.keeper import amount

    if unkept:
        echo("\n".join(unkept))
    if path.exists() and load(path).lines:
        rest = "The rest of the text" if unkept else "The text"
        echo(f"{rest} is kept: device-asr history show {path.stem}", err=True)
    if not unkept:
        return None
    return f"{amount(unkept)} could not be kept: {trouble}; they stand above, copy them from there."


def _source(config: Config, audio: Path | None) -> LiveSource:
    if audio is None:
        from device_asr.audio.microphone import MicrophoneSource

        return MicrophoneSource(config.audio, wait=True)
    from device_asr.audio.file import FileSource
    from device_asr.audio.realtime import RealtimeSource

    return RealtimeSource(FileSource(audio))


def recorded(config: Config, record: bool) -> Config:
    """`config` with the audio kept where `record` asks for it."""
    return replace(config, session=replace(config.session, record=True)) if record else config


@click.command(name="device-asr")
@click.option("--source", metavar="FILE", help="Play this audio file in real time instead of the microphone.")
@click.option("--record", is_flag=True, help="Keep the audio beside the text.")
@with_microphone
def command(source: str | None, record: bool, config: Config) -> None:
    """Dictate in the terminal; see `device-asr --help` for the other commands."""
    run(recorded(config, record), Path(source) if source else None)
