"""The recognizer's process is killed: with stand-ins at every moment of a session, and ten times in the letter."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import psutil
import pytest
import soundfile

from device_asr import config
from device_asr.audio.format import SAMPLE_RATE, STEP
from device_asr.audio.realtime import RealtimeSource
from device_asr.audio.source import AudioChunk
from device_asr.config import Config
from device_asr.dictation import remote
from device_asr.dictation.remote import RemoteRecognizer
from device_asr.dictation.session import LiveSession
from device_asr.dictation.state import Delivery, Notice
from device_asr.events import Event, Final, Partial
from device_asr.recognition.assemble import assemble
from tests.support.paths import ASSETS
from tests.support.utterance_counter import Audio, UtteranceCounter, silence, speech

pytestmark = pytest.mark.serial
LOADS_FOR = "TEST_LOADS_FOR"  # in the environment: how long the next processes load, in seconds


class Slow(UtteranceCounter):
    """Takes a while to load."""

    def __init__(self) -> None:
        time.sleep(float(os.environ.get(LOADS_FOR, "0.3")))
        super().__init__()


def processes() -> list[psutil.Process]:
    """The recognizers of this process that were not waited for, dead ones included."""
    names = {child.pid for child in multiprocessing.active_children() if child.name == "recognizer"}
    return [child for child in psutil.Process().children() if child.pid in names or child.status() == "zombie"]


def kill() -> None:
    """Kills the recognizer's process, which is awaited."""
    end = time.monotonic() + 5
    while not (found := processes()):
        assert time.monotonic() < end, "no recognizer"
        time.sleep(0.005)
    os.kill(found[0].pid, signal.SIGKILL)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert processes() == []


@dataclass
class Run:
    """A session over speech of 0.9 s, and what became of it."""

    deliveries: list[Delivery] = field(default_factory=list)
    recorded: list[AudioChunk] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pcm = np.concatenate([speech(0.5), silence(0.3), speech(0.4), silence(0.6)])
        source = RealtimeSource(Audio(self.pcm))
        self.session = LiveSession(
            source, lambda: RemoteRecognizer(Slow), Config(), self.deliveries.append, on_audio=self.recorded.append
        )
        self.session.start()

    def until(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end, "it did not come to pass"
            time.sleep(0.005)

    def of(self, kind: type) -> list:
        return [d.event for d in self.deliveries if isinstance(d.event, kind)]

    def begun(self) -> None:
        self.until(lambda: self.of(Partial))


def while_it_loads(run: Run) -> None:
    kill()


def in_mid_utterance(run: Run) -> None:
    run.begun()
    kill()


def twice(run: Run) -> None:
    run.begun()
    kill()
    run.until(lambda: run.session.state.phase == "loading")
    kill()


def between_utterances(run: Run) -> None:
    run.until(lambda: run.of(Final))
    kill()


def while_paused(run: Run) -> None:
    run.begun()
    run.session.pause()
    kill()
    time.sleep(0.1)
    run.session.resume()


def before_a_cut(run: Run) -> None:
    run.begun()
    kill()
    finals: list[int] = []
    run.session.cut(lambda: finals.append(len(run.of(Final))))
    run.until(lambda: finals)
    assert finals[0] >= 1, "the utterance so far belongs to the former session"


def when_muted(run: Run) -> None:
    run.until(lambda: run.of(Final))
    run.session.mute()
    kill()
    run.session.mute(False)


@pytest.mark.parametrize(
    "killing", [while_it_loads, in_mid_utterance, twice, between_utterances, while_paused, before_a_cut, when_muted]
)
def test_every_sample_is_recognized_and_recorded(killing: Callable[[Run], None]) -> None:
    run = Run()
    killing(run)
    assert run.session.wait(20)
    said = sum(float(final.text) for final in run.of(Final))
    loud = sum(float(np.sum(chunk.pcm > 0.01)) for chunk in run.recorded) / SAMPLE_RATE
    assert said == pytest.approx(loud)
    assert loud == pytest.approx(0.9) or (killing is when_muted and 0.5 <= loud < 0.9)
    assert sum(len(chunk.pcm) for chunk in run.recorded) == len(run.pcm)
    assert [n.message for n in run.of(Notice) if n.kind == "recognizer_died"] == [
        "The recognizer was ended by SIGKILL: it starts again, and the audio is kept."
    ]
    assert [n for n in run.of(Notice) if n.kind in ("behind", "recovered")] == []
    starts = [final.start for final in run.of(Final)]
    assert starts == sorted(set(starts)), "no final twice"


def test_recording_goes_on_while_the_process_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run()
    run.begun()
    monkeypatch.setenv(LOADS_FOR, "1")
    kill()
    run.until(lambda: run.session.state.phase == "loading")
    before, finals = len(run.recorded), len(run.of(Final))
    time.sleep(0.4)
    state = run.session.state
    assert state.phase == "loading" and len(run.recorded) - before >= 3
    assert state.backlog > 0.05 and len(run.of(Final)) == finals, "which is behind, and is said to be"
    assert run.session.wait(20)


@pytest.mark.parametrize("again", [False, True])
def test_stopping_finishes_the_utterance_of_a_process_that_was_killed(again: bool) -> None:
    run = Run()
    run.begun()
    kill()
    if again:
        run.until(lambda: run.session.state.phase == "loading")
    assert run.session.stop(timeout=10)
    loud = sum(float(np.sum(chunk.pcm > 0.01)) for chunk in run.recorded) / SAMPLE_RATE
    assert sum(float(final.text) for final in run.of(Final)) == pytest.approx(loud) and loud > 0.1


def test_leaving_at_once_does_not_wait_for_a_process_that_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run()
    run.begun()
    monkeypatch.setenv(LOADS_FOR, "60")
    kill()
    run.until(lambda: run.session.state.phase == "loading")
    began = time.monotonic()
    run.session.abort()
    assert run.session.wait(30)
    assert time.monotonic() - began < 30


def test_ten_kills_in_the_letter_change_no_event() -> None:
    """The real recognizer; finals, their words and times, partials and all are equal."""
    settings = config.load(environ={}, flags={"model.threads": 1}).config
    pcm = soundfile.read(ASSETS / "letter.flac", dtype="float32")[0]
    pieces = np.split(pcm, range(STEP, len(pcm), STEP))
    here = assemble(settings)
    wanted: list[Event] = [event for piece in pieces for event in here.feed(piece)] + here.finish()
    recognizer = remote.load(settings)
    deaths: list[str] = []
    recognizer.report_deaths(deaths.append)
    places = {round((place + 0.5) * len(pieces) / 10) for place in range(10)}
    found: list[Event] = []
    try:
        for number, piece in enumerate(pieces):
            found += recognizer.feed(piece)
            while recognizer.waiting > 0.5:  # fed fast, the whole letter would wait for the first restart
                time.sleep(0.002)
                found += recognizer.feed(piece[:0])
            if number in places:
                kill()
        found += recognizer.finish()
    finally:
        recognizer.close()
    assert len(deaths) == len(places) == 10
    assert found == wanted
    assert len([event for event in found if isinstance(event, Final)]) == 6
