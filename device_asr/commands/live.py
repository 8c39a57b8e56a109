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
        DeviceAsrError: the session failed, or its file cannot be written.
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
    if app.writer.path.exists():
        echo(f"The text is kept: device-asr history show {app.writer.id}", err=True)
    if app.failure:
        raise DeviceAsrError(app.failure)


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
