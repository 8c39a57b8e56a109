"""`device-asr replay`: the words that changed."""

from __future__ import annotations

from device_asr.commands.replay import word_diff


def test_word_differences() -> None:
    assert word_diff(["a", "b", "c"], ["a", "x", "c", "d"]) == ("a [-b-] {+x+} c {+d+}", 2)
