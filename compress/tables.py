"""Tables that commands measure: rows on disk, one JSON object a line, and Markdown between markers of a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from device_asr.errors import DeviceAsrError, OutputError, UsageError
from device_asr.files import write_whole


class TableError(DeviceAsrError):
    """The rows of a table cannot be read."""


class Keyed(Protocol):
    """A row: `key` is of what was measured, and on what."""

    key: str


R = TypeVar("R", bound=Keyed)


def read_rows(path: Path, make: Callable[[Mapping[str, Any]], R]) -> dict[str, R]:
    """The rows of a work folder by their keys, each made of its JSON object; none where there is no file.

    Raises:
        TableError: the file cannot be read, or a line is no row.
    """
    if not path.is_file():
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"{path} cannot be read: {error}.") from None
    rows = {}
    for number, line in enumerate(lines, 1):
        try:
            row = make(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise TableError(
                f"{path}, line {number}: wanted a row of this command, found {line[:60]!r}; remove the "
                "line, and what it stood for is measured again."
            ) from None
        rows[row.key] = row
    return rows


def write_rows(rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Writes the rows; the file appears when it is whole.

    Raises:
        OutputError: it cannot be written.
    """
    write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


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
    """Those of the files that are given, each with a place for the table of that name; see `check_markers`."""
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
