"""Finals to text formats: a writer takes one Final at a time and returns the text to append."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from device_asr.events import Final

FORMATS = ("txt", "jsonl", "srt", "vtt")


class Writer(Protocol):
    """Turns Finals into text to append to an output."""

    def header(self) -> str:
        """The beginning of the output."""
        ...

    def final(self, final: Final) -> str:
        """The text to append for `final`."""
        ...


def make_writer(format: str) -> Writer:
    """A fresh writer of one of FORMATS."""
    from device_asr.writers.plain import JsonlWriter, TextWriter
    from device_asr.writers.subtitles import SrtWriter, VttWriter

    writers: dict[str, Callable[[], Writer]] = {
        "txt": TextWriter,
        "jsonl": JsonlWriter,
        "srt": SrtWriter,
        "vtt": VttWriter,
    }
    return writers[format]()
