"""Changes settings in a config file, and keeps everything else in it as the person wrote it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from device_asr.bounded import parse_toml, read_text
from device_asr.errors import OutputError, UsageError
from device_asr.files import write_whole

Value = str | int | float | bool


def write_settings(path: Path, settings: Mapping[str, Value]) -> None:
    """Writes `settings` (by `section.name`) into the config file, which appears when it is whole.

    Comments, order and all other settings stay. A file that is missing is made.

    Raises:
        UsageError: the file is not valid TOML, or is written in a way that cannot be changed safely, such as
            `partial = {...}` in one line; it is left as it was.
        OutputError: it cannot be written.
    """
    try:
        text = read_text(path) if path.exists() else ""
        changed = with_settings(text, settings)
    except OSError as error:
        raise UsageError(f"Config file {path} cannot be read: {error}.") from None
    except ValueError as error:
        raise UsageError(f"Config file {path} was left as it is: {error}.") from None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, changed)
    except OSError as error:
        raise OutputError(f"{path} could not be written: {error.strerror}; nothing in it was changed.") from None


def with_settings(text: str, settings: Mapping[str, Value]) -> str:
    """`text`, a TOML file, with `settings` in it.

    Each takes the place of the line that sets it, stands behind the comment that describes it, or at its section's
    end. The result is read again and compared with what it should hold.

    Raises:
        ValueError: `text` is not valid TOML, or the result does not hold what it should.
    """
    try:
        wanted = parse_toml(text)
        lines = text.splitlines()
        for key, value in settings.items():
            section, name = key.split(".")
            wanted.setdefault(section, {})[name] = value
            _put(lines, section, name, f"{name} = {json.dumps(value, ensure_ascii=False)}")
        changed = "\n".join(lines) + "\n"
        unchanged_elsewhere = parse_toml(changed) == wanted
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"it is not a config file that can be changed ({error})") from None
    if unchanged_elsewhere:
        return changed
    raise ValueError(f"{', '.join(settings)} could not be set in it safely; change them by hand")


def _put(lines: list[str], section: str, name: str, line: str) -> None:
    """Puts `line`, which sets `name`, into its section."""
    begin = _find(lines, rf"\s*\[\s*{re.escape(section)}\s*\]\s*(#.*)?", 0, len(lines))
    if begin is None:
        lines += [*([""] if lines else []), f"[{section}]", line]
        return
    end = _find(lines, r"\s*\[.*", begin + 1, len(lines))
    end = len(lines) if end is None else end
    old = _find(lines, rf"\s*{re.escape(name)}\s*=.*", begin + 1, end)
    if old is not None:
        remark = re.search(r"\s+#[^\"']*$", lines[old])
        lines[old] = line + (remark[0] if remark else "")
        return
    described = _find(lines, rf"\s*#\s*{re.escape(name)}\s*=.*", begin + 1, end)
    if described is None:
        while end > begin + 1 and not lines[end - 1].strip():
            end -= 1
        described = end - 1
    lines.insert(described + 1, line)


def _find(lines: list[str], pattern: str, begin: int, end: int) -> int | None:
    return next((at for at in range(begin, end) if re.fullmatch(pattern, lines[at])), None)
