"""The text of a session as a person reads it: utterances as lines, lines in paragraphs, edits on top."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from device_asr.errors import OutputError
from device_asr.events import Event, Final, Partial, Seconds, SpeechEnded
from device_asr.files import write_whole
from device_asr.printable import spoken_text
from device_asr.writers import FORMATS, make_writer

PARAGRAPH_PAUSE: Seconds = 2.0


@dataclass(frozen=True, slots=True)
class Line:
    """A finished utterance; `edited` is the person's text where it was changed."""

    final: Final
    edited: str | None = None

    def __post_init__(self) -> None:
        if self.edited is not None:
            object.__setattr__(self, "edited", spoken_text(self.edited))

    @property
    def text(self) -> str:
        """The text that is shown and saved."""
        return self.final.text if self.edited is None else self.edited

    @property
    def words(self) -> int:
        """How many words it has."""
        return len(self.text.split())

    def as_final(self) -> Final:
        """The Final to write; an edited one has no words, as their times belong to the former text."""
        return self.final if self.edited is None else replace(self.final, text=self.edited, words=())


class Transcript:
    """Lines so far and the utterance in progress.

    Args:
        paragraph_s: a longer pause between two utterances, in seconds, begins a new paragraph.
        lines: utterances that were finished before.

    Attributes:
        lines: finished utterances in order; their index is what `edit` takes.
        words: of the finished lines; kept, as the interface asks 30 times a second.
        partial: the utterance in progress, or None.
    """

    def __init__(self, paragraph_s: Seconds = PARAGRAPH_PAUSE, lines: Iterable[Line] = ()) -> None:
        self.paragraph_s = paragraph_s
        self.lines = list(lines)
        self.words = sum(line.words for line in self.lines)
        self.partial: Partial | None = None

    def add(self, event: Event) -> None:
        """Takes an event; those that do not change the text are ignored."""
        if isinstance(event, Final):
            self.partial = None
            if event.text.strip():
                self.lines.append(Line(event))
                self.words += self.lines[-1].words
        elif isinstance(event, Partial):
            self.partial = event
        elif isinstance(event, SpeechEnded):
            self.partial = None  # an utterance without text is taken back

    def edit(self, index: int, text: str) -> None:
        """Replaces the text of line `index`; an empty text takes the line out of what is saved."""
        before, after = self.lines[index], replace(self.lines[index], edited=text.strip())
        self.lines[index] = after
        self.words += after.words - before.words

    def begins_paragraph(self, start: Seconds, after: int) -> bool:
        """Whether an utterance that starts at `start` begins a paragraph behind the first `after` lines."""
        return after == 0 or start - self.lines[after - 1].final.end > self.paragraph_s

    def paragraphs(self) -> list[list[int]]:
        """Indices of the lines of each paragraph."""
        found: list[list[int]] = []
        for index, line in enumerate(self.lines):
            if self.begins_paragraph(line.final.start, index):
                found.append([])
            found[-1].append(index)
        return found

    def text(self) -> str:
        """The text of all finished lines, one block a paragraph, as on the screen."""
        blocks = (" ".join(filter(None, (self.lines[i].text for i in block))) for block in self.paragraphs())
        return "\n\n".join(filter(None, blocks))


def export(lines: Sequence[Line], format: str) -> str:
    """The lines in one of `writers.FORMATS`; lines edited to nothing are left out."""
    writer = make_writer(format)
    finals: Iterable[Final] = (line.as_final() for line in lines if line.text)
    return writer.header() + "".join(writer.final(final) for final in finals)


def save(transcript: Transcript, path: Path, *, private: bool = True) -> str:
    """Saves `transcript` in the format that the ending of `path` names; returns a sentence about it.

    Args:
        transcript: its finished lines.
        path: of the file.
        private: a new file can be read by its owner alone.

    Raises:
        OutputError: no format has this ending, or the file cannot be written.
    """
    format = path.suffix.lower().lstrip(".")
    if format not in FORMATS:
        raise OutputError(f"Wanted an ending of {', '.join(FORMATS)}, found {path.suffix or 'none'!r}: not saved.")
    text = transcript.text() + "\n" if format == "txt" else export(transcript.lines, format)
    try:
        write_whole(path, text, private=private)
    except OSError as error:
        raise OutputError(f"{path} was not saved: {error.strerror}.") from None
    return f"Saved {path}."
