"""Names of sessions: the local time at which they began, in an order that outlives a clock which goes back."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from device_asr.errors import OutputError

SUFFIX = ".jsonl"
_NAME = re.compile(r"(\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)(?:_back(\d{1,9}))?(?:_(\d{1,9}))?")
Place = tuple[int, str, int]  # how often the clock had gone back; the time; a number among those of the same second


def place(name: str) -> Place:
    """Where a session stands in the order of all; names that no session was given come first."""
    found = _NAME.fullmatch(name)
    if found is None:
        return -1, name, 0
    return int(found[2] or 0), found[1], int(found[3] or 1)


def names(directory: Path) -> list[str]:
    """The names in a sessions folder, oldest first; whether they can be read is another question.

    Raises:
        OutputError: the folder cannot be read.
    """
    try:
        found = [path.name for path in directory.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise OutputError(f"{directory}: the sessions cannot be listed: {error.strerror}.") from None
    return sorted((name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX)), key=place)


def new_names(directory: Path, began: datetime) -> Iterator[str]:
    """Names for a session that begins now, of which the first that is free is the last of all.

    A second session of the same second gets `_2`. Where the clock went back behind a session that is there, as at
    the end of summer time, it gets `_back1`, and so do the later ones, until it goes back once more.
    """
    back, latest, _ = max(map(place, names(directory)), default=(0, "", 0))
    time = began.strftime("%Y-%m-%d_%H-%M-%S")
    back = max(back, 0) + (back >= 0 and time < latest)
    begin = f"{time}_back{back}" if back else time
    yield begin
    yield from (f"{begin}_{number}" for number in itertools.count(2))
