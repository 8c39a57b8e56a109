"""Text formats: exact times, cues that can be read."""

from __future__ import annotations

import itertools
import json

import pytest

from device_asr.events import Final, Word, from_record
from device_asr.writers import FORMATS, make_writer
from device_asr.writers.subtitles import LINE, LONGEST_CUE, cues, timestamp


def final(count: int, gap: float = 0.5) -> Final:
    words = tuple(Word(f"word{k}", k * gap, k * gap + 0.4, 0.9) for k in range(count))
    return Final(0, " ".join(w.text for w in words), 0.0, count * gap, count * gap + 0.6, words, 0.9)


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [(0.0, "00:00:00,000"), (59.9996, "00:01:00,000"), (3661.5, "01:01:01,500"), (400_000.0, "111:06:40,000")],
)
def test_timestamps(seconds: float, wanted: str) -> None:
    assert timestamp(seconds, ",") == wanted


def test_long_utterances_become_readable_cues_without_losing_a_word() -> None:
    utterance = final(60)
    found = list(cues(utterance))
    assert " ".join(text.replace("\n", " ") for _, _, text in found) == utterance.text
    for start, end, text in found:
        assert start < end <= start + LONGEST_CUE + 0.001
        assert text.count("\n") <= 1 and all(len(line) <= LINE for line in text.split("\n"))
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(found))


def test_srt_is_numbered_through_and_vtt_has_a_header() -> None:
    srt, vtt = make_writer("srt"), make_writer("vtt")
    text = srt.header() + srt.final(final(2)) + srt.final(final(2))
    assert text.startswith("1\n00:00:00,000 --> 00:00:00,900\nword0 word1\n\n2\n")
    assert vtt.header() == "WEBVTT\n\n"
    escaped = vtt.final(Final(0, "a < b & c", 0.0, 1.0, 1.6, (), 1.0))
    assert "a &lt; b &amp; c" in escaped and "00:00:00.000 --> 00:00:01.000" in escaped


def test_jsonl_is_the_event() -> None:
    utterance = final(3)
    assert from_record(json.loads(make_writer("jsonl").final(utterance))) == utterance


def test_every_format_has_a_writer() -> None:
    assert all(make_writer(name).final(final(1)) for name in FORMATS)
