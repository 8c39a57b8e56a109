"""Networks that lack what Whisper's exported programs have: partials still come, and what is absent stays absent."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile

from device_asr.config import load as load_config
from device_asr.events import Event, Final, Partial
from device_asr.recognition.assemble import assemble
from device_asr.recognition.recognizer import StreamingRecognizer
from tests.support.changed_bundle import Change, Lacking, drop
from tests.support.paths import ASSETS

NO_CTC, NO_ALIGNMENT = drop("ctc", "stream"), drop("alignment", "decode")


def said() -> np.ndarray:
    clip, _ = soundfile.read(ASSETS / "timer.flac", dtype="float32")
    return np.concatenate([np.zeros(8000, np.float32), clip, np.zeros(24_000, np.float32)])


def recognizer(bundle: Path, *changes: Change, **flags: object) -> StreamingRecognizer:
    settings = {"model.threads": 1, "partial.interval_ms": 96, "decoding.guards": False}
    named = {key.replace("__", "."): value for key, value in flags.items()}
    config = load_config(environ={}, flags={**settings, **named}).config
    return assemble(config, bundle=Lacking.of(bundle, *changes))


def recognized(bundle: Path, *changes: Change) -> list[Event]:
    made = recognizer(bundle, *changes)
    return [*made.feed(said()), *made.finish()]


def of(kind: type, events: list[Event]) -> list:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize(
    "changes", [[NO_CTC], [NO_ALIGNMENT], [NO_CTC, NO_ALIGNMENT]], ids=["ctc", "alignment", "both"]
)
def test_partials_come_while_the_utterance_goes_on_and_what_they_commit_stays(
    bundle: Path, changes: list[Change]
) -> None:
    events = recognized(bundle, *changes)
    partials, (final,) = of(Partial, events), of(Final, events)
    assert len(partials) >= 2 and final.text
    committed = [partial.committed for partial in partials]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(committed))
    assert all(partial.text.startswith(partial.committed) for partial in partials)


def test_word_times_are_absent_without_alignment_and_there_without_a_ctc_head(bundle: Path) -> None:
    (unaligned,) = of(Final, recognized(bundle, NO_ALIGNMENT))
    (mute,) = of(Final, recognized(bundle, NO_CTC))
    assert unaligned.words == () and unaligned.text
    assert " ".join(word.text for word in mute.words) == mute.text
    assert all(mute.start - 0.4 <= word.start <= word.end <= mute.time for word in mute.words)


def test_the_detector_alone_says_that_somebody_spoke(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where an utterance that grew too long is cut, and the rest of it is silence."""
    made = recognizer(bundle, NO_CTC, endpoint__longest_utterance_s=5, endpoint__hangover_ms=5000)
    spoken: list[bool] = []
    decode_final = made._decoder.decode_final

    def noted(pcm: np.ndarray, encoded: object, *rest: object) -> object:
        spoken.append(encoded.spoken)
        return decode_final(pcm, encoded, *rest)

    monkeypatch.setattr(made._decoder, "decode_final", noted)
    made.feed(np.concatenate([said(), np.zeros(16_000 * 4, np.float32)]))
    made.finish()
    assert spoken[0] is True and spoken[-1] is False and len(spoken) >= 2
