"""`device-asr replay SESSION`: recognizes its recording again and shows the changes."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from device_asr.audio.devices import silenced_libraries
from device_asr.commands.parts.options import configured
from device_asr.console import echo
from device_asr.errors import UsageError
from device_asr.events import Event, Final

if TYPE_CHECKING:
    from device_asr.config import LoadedConfig
    from device_asr.dictation.history import Session
    from device_asr.recognition.protocol import Recognizer


def replay(session: Session, recording: Path, recognizer: Recognizer) -> Iterator[Final]:
    """The Finals of the recording; utterances are cut short at the same places, and no partial is skipped."""
    from device_asr.audio.file import FileSource
    from device_asr.audio.format import SAMPLE_RATE

    cuts = [round(cut * SAMPLE_RATE) for cut in session.cuts]
    fed = 0
    for chunk in FileSource(recording):
        pcm = chunk.pcm
        while cuts and cuts[0] <= fed + len(pcm):
            head, pcm = pcm[: max(0, cuts[0] - fed)], pcm[max(0, cuts[0] - fed) :]
            fed += len(head)
            cuts.pop(0)
            yield from _finals(recognizer.feed(head) + recognizer.finish())
        if len(pcm):
            fed += len(pcm)
            yield from _finals(recognizer.feed(pcm))
    yield from _finals(recognizer.finish())


def _finals(events: list[Event]) -> Iterator[Final]:
    return (event for event in events if isinstance(event, Final))


def word_diff(before: list[str], after: list[str]) -> tuple[str, int]:
    """The text with [-deleted-] and {+inserted+} words, and how many words changed."""
    out: list[str] = []
    changed = 0
    for kind, a, b, c, d in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            out += before[a:b]
            continue
        changed += max(b - a, d - c)
        if b > a:
            out.append(f"[-{' '.join(before[a:b])}-]")
        if d > c:
            out.append(f"{{+{' '.join(after[c:d])}+}}")
    return " ".join(out), changed


@click.command(name="replay")
@click.argument("session")
@configured
def command(session: str, loaded: LoadedConfig) -> None:
    """Play SESSION's recording through the recognizer again and show what changed.

    The brackets [-...-] mark kept words that are missing now, {+...+} mark new words; edits do not count.
    """
    from device_asr.commands.history import find
    from device_asr.recognition.assemble import assemble

    found = find(loaded, session)
    if found.recording is None:
        raise UsageError(f"Session {found.id} has no recording; `device-asr --record` keeps the audio.")
    with silenced_libraries(output=True):
        finals = replay(found, found.recording, assemble(loaded.config))
        after = [word for final in finals for word in final.text.split()]
    before = [word for line in found.lines for word in line.final.text.split()]
    text, changed = word_diff(before, after)
    echo(text)
    echo(f"{changed} of {len(before)} words changed.", err=True)
