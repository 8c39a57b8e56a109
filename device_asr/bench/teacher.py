"""The teacher's text of each clip, as `device-asr-compress evaluate` wrote it.

The teacher belongs to the offline stage, which this package never runs. The file has one JSON object a
clip: {"audio": its path relative to the manifest's folder, "text": the teacher's text}.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from device_asr.bounded import parse_json, read_text
from device_asr.errors import DeviceAsrError
from device_asr.metrics.clips import MOST_BYTES, Clip

COMMAND = "device-asr-compress evaluate tiny.en {manifest} --json > {file}"


def read_teacher(file: Path, manifest: Path, clips: Sequence[Clip]) -> list[str]:
    """The teacher's text of each of `clips`, which are clips of `manifest`.

    Raises:
        DeviceAsrError: the file is missing, cannot be read, has a line of another form, or lacks a clip.
    """
    command = COMMAND.format(manifest=shlex.quote(str(manifest)), file=shlex.quote(str(file)))
    try:
        lines = read_text(file, MOST_BYTES).splitlines()
    except FileNotFoundError:
        raise DeviceAsrError(f"--teacher: {file} does not exist; write it with: {command}") from None
    except (OSError, ValueError) as error:
        raise DeviceAsrError(f"--teacher: {file} cannot be read ({error}); write it with: {command}") from None
    texts: dict[Path, str] = {}
    for number, line in enumerate(lines, 1):
        try:
            record = parse_json(line)
            audio, text = record["audio"], record["text"]
            texts[(manifest.parent / audio).resolve()] = text.strip()
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DeviceAsrError(
                f"{file}, line {number}: wanted a JSON object with audio and text, found {line[:60]!r}; "
                f"write the file with: {command}"
            ) from None
    found = [texts.get(clip.audio.resolve()) for clip in clips]
    missing = [clip.audio for clip, text in zip(clips, found, strict=True) if text is None]
    if missing:
        raise DeviceAsrError(
            f"--teacher: {file} has no text for {len(missing)} of {len(clips)} clips of {manifest}, the first being "
            f"{missing[0]}; write it with: {command}"
        )
    return [text for text in found if text is not None]
