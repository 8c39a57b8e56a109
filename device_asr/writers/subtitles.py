"""SubRip and WebVTT: utterances split at words into cues that can be read."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from device_asr.events import Final, Seconds, Word

LINE = 42  # characters: the usual limit for subtitles
LINES = 2
LONGEST_CUE: Seconds = 7.0


class SrtWriter:
    """SubRip: numbered cues, times with a comma."""

    def __init__(self) -> None:
        self._number = 0

    def header(self) -> str:
        return ""

    def final(self, final: Final) -> str:
        out = ""
        for start, end, text in cues(final):
            self._number += 1
            out += f"{self._number}\n{timestamp(start, ',')} --> {timestamp(end, ',')}\n{text}\n\n"
        return out


class VttWriter:
    """WebVTT: a header, times with a full stop."""

    def header(self) -> str:
        return "WEBVTT\n\n"

    def final(self, final: Final) -> str:
        escaped = ((s, e, t.replace("&", "&amp;").replace("<", "&lt;")) for s, e, t in cues(final))
        return "".join(f"{timestamp(s, '.')} --> {timestamp(e, '.')}\n{t}\n\n" for s, e, t in escaped)


def timestamp(seconds: Seconds, point: str) -> str:
    """`seconds` as hh:mm:ss,mmm with `point` as the comma; hours go on past 99."""
    milliseconds = round(max(0.0, seconds) * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d}{point}{milliseconds % 1000:03d}"


def cues(final: Final) -> Iterator[tuple[Seconds, Seconds, str]]:
    """(start, end, text of at most two lines) of an utterance; without words, the utterance as one cue."""
    if not final.words:
        yield final.start, final.end, textwrap.fill(final.text, LINE)
        return
    group: list[Word] = []
    for word in final.words:
        if group and not _fits([*group, word]):
            yield _cue(group)
            group = []
        group.append(word)
    yield _cue(group)


def _fits(words: Sequence[Word]) -> bool:
    lines = textwrap.wrap(" ".join(w.text for w in words), LINE, break_long_words=False)
    return len(lines) <= LINES and words[-1].end - words[0].start <= LONGEST_CUE


def _cue(words: Sequence[Word]) -> tuple[Seconds, Seconds, str]:
    text = "\n".join(textwrap.wrap(" ".join(w.text for w in words), LINE, break_long_words=False))
    return words[0].start, max(words[-1].end, words[0].start + 0.001), text
