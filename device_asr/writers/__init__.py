"""Finals to text formats; every writer is told one Final at a time and returns what to append."""

from __future__ import annotations

from typing import Protocol

from device_asr.events import Final

FORMATS = ("txt", "jsonl", "srt", "vtt")


class Writer(Protocol):
    """Turns Finals into text to append to an output."""

    def header(self) -> str:
        """What the output begins with."""
        ...

    def final(self, final: Final) -> str:
        """What to append for `final`."""
        ...


def make_writer(format: str) -> Writer:
    """A fresh writer of one of FORMATS."""
    from device_asr.writers.plain import JsonlWriter, TextWriter
    from device_asr.writers.subtitles import SrtWriter, VttWriter

    return {"txt": TextWriter, "jsonl": JsonlWriter, "srt": SrtWriter, "vtt": VttWriter}[format]()
