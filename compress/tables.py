"""Tables that commands print: Markdown, also between markers of a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from device_asr.errors import OutputError, UsageError
from device_asr.files import write_whole


def write(path: Path, text: str) -> None:
    """Writes a file that appears when it is whole.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        write_whole(path, text)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror}; make room and run the same command, it goes on."
        ) from None


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(cells)} |" for cells in rows)]


def places(name: str, *files: Path | None) -> list[Path]:
    """The files that are given (not None), each with a place for the table of that name; see `check_markers`."""
    given = [path for path in files if path is not None]
    for path in given:
        check_markers(path, name)
    return given


def check_markers(path: Path, name: str) -> str:
    """The text of a file that has a place for the table of that name: between `<!-- name -->` and `<!-- /name -->`.

    Raises:
        UsageError: unreadable, or not one pair of markers in it.
    """
    begin, end = _markers(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from None
    if (text.count(begin), text.count(end)) != (1, 1) or text.index(end) < text.index(begin):
        raise UsageError(
            f"{path}: wanted {begin} and after it {end}, once each, around the place of the table; write them there."
        )
    return text


def put_table(files: Iterable[Path], name: str, markdown: str) -> None:
    """Replaces what is between the markers of each file; see `check_markers`."""
    begin, end = _markers(name)
    for path in files:
        text = check_markers(path, name)
        before, after = text[: text.index(begin) + len(begin)], text[text.index(end) :]
        write(path, f"{before}\n{markdown}\n{after}")


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- {name} -->", f"<!-- /{name} -->"


def figure(value: float | None, scale: float, form: str) -> str:
    """A figure for a person; a dash where there is none."""
    return "-" if value is None else format(value * scale, form)
