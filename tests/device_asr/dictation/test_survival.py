"""A recognizer whose process dies says the same, at the same times, as one whose process lives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_asr.audio.format import SAMPLE_RATE, STEP, STEP_S
from device_asr.config import Config
from device_asr.dictation import remote, restarts
from device_asr.dictation.remote import REASON, RemoteRecognizer
from device_asr.errors import DeviceAsrError
from device_asr.events import AudioGap, Event, Final, SpeechEnded, SpeechStarted
from device_asr.recognition.resume import ResumePoint
from tests.support.dying import POISON, Death, Digest, Process, Processes
from tests.support.utterance_counter import UtteranceCounter

CONFIG = Config()
CONFIG = replace(CONFIG, endpoint=replace(CONFIG.endpoint, longest_utterance_s=5.0))
Stretch = tuple[bool, float]  # speech or silence; seconds

deaths = st.builds(Death, st.integers(0, 60), st.sampled_from(["before", "after", "loading"]), st.integers(0, 12))
stretches = st.lists(st.tuples(st.booleans(), st.floats(0.05, 3.0)), min_size=1, max_size=5)
chunks = st.lists(st.integers(1, 6000), min_size=1, max_size=40)  # samples; taken in turn
boundaries = st.sets(st.integers(0, 60), max_size=3)  # after which chunks the utterance is finished


def audio(*parts: Stretch) -> np.ndarray:
    """(n,) float32: speech and silence, no two samples of speech alike."""
    random = np.random.default_rng(0)
    pieces = [random.uniform(0.05, 0.15, int(s * SAMPLE_RATE)) * (1 if loud else 0.01) for loud, s in parts]
    return np.concatenate(pieces).astype(np.float32)


def split(pcm: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    cuts, at = [], 0
    while at < len(pcm):
        at += sizes[len(cuts) % len(sizes)]
        cuts.append(at)
    return np.split(pcm, cuts[:-1])


def digest() -> Digest:
    return Digest(CONFIG)


def events_of(
    recognizer: RemoteRecognizer | Digest, pieces: list[np.ndarray], finished: set[int] = frozenset()
) -> list[Event]:
    events: list[Event] = []
    for number, piece in enumerate(pieces):
        events += recognizer.feed(piece)
        if number in finished:
            events += recognizer.gap(0.25, "unplugged")
            events += recognizer.finish()
    return events + recognizer.finish()


@settings(max_examples=40, deadline=None)
@given(stretches, chunks, st.lists(deaths, max_size=6), boundaries)
def test_the_events_are_those_of_a_process_that_lives(
    parts: list[Stretch], sizes: list[int], dying: list[Death], finished: set[int]
) -> None:
    pieces = split(audio(*parts), sizes)
    wanted = events_of(digest(), pieces, finished)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(restarts, "STEPS", ("again",) * 9)  # by chance a call may be met three times
        patch.setattr(restarts, "LOADS", 9)
        assert events_of(RemoteRecognizer(digest, start=Processes(dying)), pieces, finished) == wanted


@pytest.mark.parametrize("silent", range(24, 32))
def test_no_frame_is_missed_where_speech_is_just_beginning(silent: int) -> None:
    pieces = split(audio((False, silent * STEP_S), (True, 1.0), (False, 1.0)), [STEP])
    recognizer = RemoteRecognizer(digest, start=Processes([Death(32)]))  # the first resume point is after 31 frames
    assert events_of(recognizer, pieces) == events_of(digest(), pieces)


def test_audio_waits_while_the_process_loads_and_feeding_does_not() -> None:
    recognizer = RemoteRecognizer(digest, start=Processes([Death(20, polls=30)]))
    pieces = split(audio((True, 2.0), (False, 1.0)), [STEP])
    events = [recognizer.feed(piece) for piece in pieces[:45]]
    assert recognizer.loading and events[20:] == [[]] * 25
    assert recognizer.waiting == pytest.approx(25 * STEP / SAMPLE_RATE)
    assert recognizer.time == pytest.approx(20 * STEP / SAMPLE_RATE)
    told = [event for few in events for event in few] + events_of(recognizer, pieces[45:])
    assert not recognizer.loading and recognizer.waiting == 0
    assert told == events_of(digest(), pieces)


def test_one_line_for_deaths_in_a_row_and_the_first_ones_are_not_missed() -> None:
    recognizer = RemoteRecognizer(digest, start=Processes([Death(0, "loading"), Death(5), Death(3), Death(3)]))
    told: list[str] = []
    recognizer.report_deaths(told.append)
    for piece in split(audio((True, 1.0)), [STEP]):
        recognizer.feed(piece)
    assert told == ["The recognizer was ended by SIGKILL: it starts again, and the audio is kept."] * 2


def poisoned(at: int) -> np.ndarray:
    pcm = audio((False, 0.5), (True, 1.0), (False, 1.0), (True, 1.5), (False, 1.0), (True, 1.0), (False, 1.0))
    pcm[at] = POISON
    return pcm


@pytest.mark.parametrize("at", [0, 12_000, 50_000, 111_999])
def test_audio_that_kills_becomes_silence_and_the_rest_is_recognized(at: int) -> None:
    pieces = split(poisoned(at), [STEP])
    processes = Processes()
    events = events_of(RemoteRecognizer(digest, start=processes), pieces)
    assert processes.started == 4
    number = at // STEP
    end = sum(map(len, pieces[: number + 1])) / SAMPLE_RATE
    assert [e for e in events if isinstance(e, AudioGap)] == [AudioGap(end, len(pieces[number]) / SAMPLE_RATE, REASON)]
    pieces[number] = np.zeros_like(pieces[number])
    assert [e for e in events if not isinstance(e, AudioGap)] == events_of(digest(), pieces)


class FatalEnd(Digest):
    """Cannot end its second utterance."""

    def _final(self, *args: object) -> list[Event]:
        if self._utterance == 1:
            raise_in_process()
        return super()._final(*args)


def raise_in_process() -> None:
    from device_asr.child import Died

    raise Died("was ended by SIGSEGV")


@pytest.mark.parametrize("at_finish", [False, True])
def test_an_utterance_that_kills_at_its_end_is_given_up_with_its_seconds(at_finish: bool) -> None:
    pieces = split(audio((True, 1.0), (False, 1.0), (True, 1.5), *[] if at_finish else [(False, 2.0)]), [STEP])
    recognizer = RemoteRecognizer(lambda: FatalEnd(CONFIG), start=Processes())
    events = events_of(recognizer, pieces)
    first, *_ = wanted = events_of(digest(), pieces)
    assert [e for e in events if isinstance(e, Final)] == [e for e in wanted if isinstance(e, Final)][:1]
    assert events[0] == first
    (gap,) = (e for e in events if isinstance(e, AudioGap))
    assert gap.reason == REASON and gap.lost == pytest.approx(1.5 if at_finish else 2.1, abs=0.2)
    *_, ended = (e for e in events if isinstance(e, SpeechEnded))
    assert ended.utterance == 1, "what was shown of it is taken back"
    later = events_of(recognizer, split(audio((True, 1.0), (False, 1.0)), [STEP]))
    (started,) = (e for e in later if isinstance(e, SpeechStarted))
    assert started.utterance == 2, "and the recognizer goes on, at the time where it was"
    assert started.time == pytest.approx(len(np.concatenate(pieces)) / SAMPLE_RATE, abs=0.1)


class Fatal(Digest):
    def _frame(self, *args: object) -> list[Event]:
        raise_in_process()
        return []


def test_a_process_that_always_dies_is_given_up() -> None:
    processes = Processes()
    recognizer = RemoteRecognizer(lambda: Fatal(CONFIG), start=processes)
    with pytest.raises(DeviceAsrError, match=r"was ended by SIGSEGV, 5 times in a row; .* smaller model"):
        events_of(recognizer, split(audio((True, 1.0)), [STEP]))
    assert processes.started == 5


def test_a_process_that_dies_again_and_again_elsewhere_is_given_up_too(monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = RemoteRecognizer(digest, start=Processes([Death(40)] * 30))
    with pytest.raises(DeviceAsrError, match="20 times in 0 min"):
        events_of(recognizer, split(audio((False, 60.0)), [STEP]))
    clock = iter(range(0, 1_000_000, 100))
    monkeypatch.setattr("device_asr.dictation.remote.time.monotonic", lambda: float(next(clock)))
    recognizer = RemoteRecognizer(digest, start=Processes([Death(40)] * 25))
    assert events_of(recognizer, split(audio((False, 60.0)), [STEP])) == []


def test_a_process_that_never_loads_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "LOAD_TIMEOUT", 0.0)
    with pytest.raises(DeviceAsrError, match="did not load within 0 s, 3 times in a row"):
        RemoteRecognizer(digest, start=lambda factory: Process(Processes(), factory, None, polls=9))


class Forgetful(UtteranceCounter):
    """Its resume point never moves."""

    def __setattr__(self, name: str, value: object) -> None:
        if name != "resume_point" or not hasattr(self, name):
            super().__setattr__(name, value)


def test_no_more_audio_is_kept_than_was_said_and_what_is_lost_is_told() -> None:
    recognizer = RemoteRecognizer(Forgetful, keep=2.0, start=Processes([Death(60)]))
    pieces = split(audio((True, 8.0), (False, 0.5)), [1600])
    events = events_of(recognizer, pieces)
    assert recognizer._journal.point == ResumePoint(0) or len(recognizer._journal._calls) < 25
    (gap,) = (e for e in events if isinstance(e, AudioGap))
    (final,) = (e for e in events if isinstance(e, Final))
    assert gap.lost == pytest.approx(4.0, abs=0.2) and float(final.text) == pytest.approx(8.0 - gap.lost, abs=0.01)
