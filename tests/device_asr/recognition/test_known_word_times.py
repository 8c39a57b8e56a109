"""The shipped models' word times against those of a speech synthesizer, which knows when it says each word."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from device_asr import config
from device_asr.bench.run import read_audio, recognize
from device_asr.metrics.clips import Clip, read_manifest
from device_asr.metrics.word_times import summary, word_time_errors
from device_asr.recognition.assemble import assemble
from tests.support import espeak
from tests.support.paths import ROOT

MODELS = sorted(path.parent for path in ROOT.glob("models/*/manifest.json"))
# largest median error of word ends and of word starts, in seconds: as measured, and at most 20 ms more
LIMITS = {"moonshine": (0.08, 0.08), "whisper": (0.13, 0.13)}

pytestmark = pytest.mark.skipif(not espeak.installed(), reason="wants espeak-ng: apt install libespeak-ng1")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """24 sentences, and the same in threes with 0.1 to 0.4 s between them."""
    manifests = espeak.manifests(tmp_path_factory.mktemp("espeak"))
    return [clip for path in manifests for clip in read_manifest(path)]


def test_a_synthesizers_words_are_in_order_and_within_the_clip(clips: Sequence[Clip]) -> None:
    for clip in clips:
        times = [time for word in clip.words for time in (word.start, word.end) if time is not None]
        assert times == sorted(times) and clip.duration is not None
        assert times[0] == pytest.approx(espeak.BEFORE, abs=0.01)
        assert times[-1] == pytest.approx(clip.duration - espeak.BEHIND, abs=0.01)
        assert len(times) >= 1.8 * len(clip.words) - 2, "few words are spoken as one with their neighbor"


@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.name)
def test_words_end_and_start_when_they_were_said(model: Path, clips: Sequence[Clip]) -> None:
    flags = {"model.name": str(model), "model.threads": 1, "partial.enabled": False}
    recognizer = assemble(config.load(environ={}, flags=flags).config)
    found = summary(
        word_time_errors(clip.words, recognize(recognizer, read_audio(clip.audio), tail=1.0).words) for clip in clips
    )
    ends, starts = LIMITS[json.loads((model / "manifest.json").read_text())["family"]]
    assert found is not None and found["matched"] > 0.5 * found["words"]
    assert found["ends"]["p50"] <= ends and found["starts"]["p50"] <= starts, found
    # one word in 150 to 220: of a sentence that is not understood, paired with another occurrence of "a" or "is"
    assert found["before_start"] <= 0.01 * found["matched"], found
