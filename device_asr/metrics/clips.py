"""Corpus manifests: JSONL, one clip a line, paths relative to the manifest's folder.

    {"audio": "corpus/0001.flac", "text": "but she is gone", "speaker": null, "duration": 2.76}

`text` and `speaker` may be null or left out (unknown), and so may `duration` (seconds). `words` may hold what was said
word by word, with the times in seconds where they are known: [{"text": "but", "start": 0.31, "end": null}].
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_asr.bounded import parse_json, read_text
from device_asr.errors import DeviceAsrError
from device_asr.events import Seconds
from device_asr.metrics.word_times import KnownWord

MOST_BYTES = 1_000_000_000  # of a manifest; 20 thousand clips have 4 million


class ManifestError(DeviceAsrError):
    """A manifest cannot be used; the message names the line."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One audio file of a corpus with its text; None: unknown."""

    audio: Path
    text: str | None = None
    speaker: str | None = None
    duration: Seconds | None = None
    words: tuple[KnownWord, ...] = ()


def check_entry(entry: Any) -> str | None:
    """The mistake of one parsed line, as "wanted ..., found ..."; None: there is none."""
    if not isinstance(entry, dict):
        return f'wanted an object with at least "audio", found {_short(entry)}'
    audio = entry.get("audio")
    if not isinstance(audio, str) or not audio.strip() or "\0" in audio:
        return f'wanted "audio" to be the path of an audio file, found {_short(audio)}'
    for key in ("text", "speaker"):
        if not isinstance(entry.get(key), str | None):
            return f'wanted "{key}" to be a text or null, found {_short(entry[key])}'
    duration = entry.get("duration")
    if duration is not None and not _is_duration(duration):
        return f'wanted "duration" to be seconds above 0 or null, found {_short(duration)}'
    return _check_words(entry.get("words"))


def _check_words(words: Any) -> str | None:
    """The mistake of `words` of a line; None: there is none."""
    if words is None:
        return None
    if not isinstance(words, list):
        return f'wanted "words" to be a list or null, found {_short(words)}'
    for word in words:
        if not isinstance(word, dict) or not isinstance(word.get("text"), str):
            return f'wanted each of "words" to be an object with a "text", found {_short(word)}'
        times = [word.get("start"), word.get("end")]
        known = [time for time in times if time is not None]
        if not all(time == 0 or _is_duration(time) for time in known) or known != sorted(known):
            return f'wanted "start" and "end" of a word to be seconds in order, or null, found {_short(word)}'
    return None


def _is_duration(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def check_clips(clips: Sequence[Clip]) -> str | None:
    """The first clip that is missing or listed twice, as the beginning of a sentence; None: there is none."""
    seen: dict[Path, int] = {}
    for number, clip in enumerate(clips, 1):
        if clip.audio in seen:
            return f"clip {number} and clip {seen[clip.audio]} are the same audio {clip.audio}"
        seen[clip.audio] = number
        if not clip.audio.is_file():
            return f"clip {number}: the audio file {clip.audio} is missing"
    return None


def read_manifest(path: Path) -> list[Clip]:
    """The clips of a manifest; blank lines are skipped.

    Raises:
        ManifestError: missing, not UTF-8, a line that is not valid, or no clip at all.
    """
    try:
        lines = read_text(path, MOST_BYTES).splitlines()
    except FileNotFoundError:
        raise ManifestError(f"Manifest {path} does not exist; wanted a JSONL file with one clip a line.") from None
    except IsADirectoryError:
        raise ManifestError(f"Manifest {path} is a folder; give the .jsonl file instead.") from None
    except UnicodeDecodeError:
        raise ManifestError(f"Manifest {path} is not UTF-8 text; wanted a JSONL file with one clip a line.") from None
    except OSError as error:
        raise ManifestError(f"Manifest {path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise ManifestError(f"Manifest {path} cannot be read: {error}.") from None
    clips = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = parse_json(line)
        except ValueError:
            raise ManifestError(f"{path}, line {number}: wanted a JSON object, found {_short(line)}.") from None
        problem = check_entry(entry)
        if problem:
            raise ManifestError(f"{path}, line {number}: {problem}.")
        words = tuple(KnownWord(word["text"], word.get("start"), word.get("end")) for word in entry.get("words") or ())
        clips.append(
            Clip(path.parent / entry["audio"], entry.get("text"), entry.get("speaker"), entry.get("duration"), words)
        )
    if not clips:
        raise ManifestError(f"Manifest {path} has no clip; wanted at least one line.")
    return clips


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"{text[:57]}..." if len(text) > 60 else text or "nothing"
