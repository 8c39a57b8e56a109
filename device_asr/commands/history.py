"""`device-asr history`: list, show, export and delete sessions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from device_asr.commands.parts.options import configured
from device_asr.console import echo
from device_asr.errors import OutputError
from device_asr.files import write_whole
from device_asr.writers import FORMATS

if TYPE_CHECKING:
    from device_asr.config import LoadedConfig
    from device_asr.dictation.history import Session


def find(loaded: LoadedConfig, wanted: str) -> Session:
    """The session `wanted`; a note on standard error says if lines of it are damaged.

    Raises:
        UsageError: none or several match.
    """
    from device_asr.dictation import history as sessions

    found = sessions.find(sessions.folder(loaded.config.session), wanted)
    if found.unfinished:
        echo(f"{found.path}: the last utterance has no final yet and is as it was last shown.", err=True)
    _say_damage(found)
    return found


def _say_damage(session: Session) -> None:
    if session.damaged:
        lines = "1 damaged line" if session.damaged == 1 else f"{session.damaged} damaged lines"
        echo(f"{session.path}: {lines} left out (cut off by a kill or a full disk); the rest is whole.", err=True)


@click.group(name="history", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> int:
    """Sessions that were dictated; without a verb: list them."""
    return 0 if context.invoked_subcommand else int(context.invoke(_list))


@command.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@configured
def _list(as_json: bool, loaded: LoadedConfig) -> int:
    """All sessions, oldest first; those that cannot be read are named, and the exit code is 1."""
    from device_asr.dictation import history as sessions

    directory = sessions.folder(loaded.config.session)
    bad: list[str] = []
    found = sessions.list_sessions(directory, bad.append)
    if not found and not bad:
        echo(f"No session is kept in {directory} yet.", err=True)
    for session in found:
        _say_damage(session)
        begin = session.lines[0].text if session.lines else ""
        if as_json:
            echo(
                json.dumps(
                    {
                        "id": session.id,
                        "started": session.started,
                        "words": session.words,
                        "recording": session.recording is not None,
                        "begin": begin,
                        "unfinished": session.unfinished,
                        "damaged": session.damaged,
                    },
                    ensure_ascii=False,
                )
            )
        else:
            audio = "audio" if session.recording else "     "
            begin = begin if len(begin) <= 40 else begin[:39] + "…"
            echo(f"{session.id:<22}{session.words:>6} words  {audio}  {begin}")
    for sentence in bad:
        echo(f"device-asr: {sentence}", err=True)
    return 1 if bad else 0


@command.command()
@click.argument("session")
@configured
def show(session: str, loaded: LoadedConfig) -> None:
    """The text of SESSION (its id, the beginning of one, or `last`), in paragraphs."""
    from device_asr.dictation.transcript import Transcript

    echo(Transcript(loaded.config.interface.paragraph_s, find(loaded, session).lines).text())


@command.command()
@click.argument("session")
@click.option("--format", type=click.Choice(FORMATS), help="[default: what FILE ends with, else txt]")
@click.option("-o", "--output", metavar="FILE", help="A file instead of standard output.")
@configured
def export(session: str, format: str | None, output: str | None, loaded: LoadedConfig) -> None:
    """SESSION in another format."""
    from device_asr.dictation import transcript

    ending = Path(output or "").suffix.lower().lstrip(".")
    text = transcript.export(find(loaded, session).lines, format or (ending if ending in FORMATS else "txt"))
    if output is None:
        echo(text, nl=False)
        return
    path = Path(output)
    try:
        write_whole(path, text, private=loaded.config.session.private)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from None


@command.command()
@click.argument("session")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@configured
def delete(session: str, yes: bool, loaded: LoadedConfig) -> None:
    """Remove SESSION, its text and its audio."""
    from device_asr.dictation import history as sessions

    found = find(loaded, session)
    if not yes:
        click.confirm(f"Delete {found.id} ({found.words} words)?", abort=True, err=True)
    sessions.delete(found)
