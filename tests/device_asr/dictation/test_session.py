"""The live session: all speech becomes text, whatever happens to machine and source."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from device_asr.audio.clock import AudioClock
from device_asr.audio.file import FileSource
from device_asr.audio.format import SAMPLE_RATE, STEP_S
from device_asr.audio.level import FLOOR_DB, measure
from device_asr.audio.realtime import RealtimeSource
from device_asr.audio.source import AudioChunk
from device_asr.config import Config, PartialConfig
from device_asr.dictation.pace import BEHIND, LAST_STEP, PATIENCE, RECOVERY, STRETCH, Pace
from device_asr.dictation.session import LiveSession
from device_asr.dictation.state import Delivery, Notice
from device_asr.errors import BundleError, DeviceError
from device_asr.events import AudioGap, Event, Failed, Final
from device_asr.metrics.latency import LatencyMeter
from tests.support.paths import ASSETS
from tests.support.utterance_counter import Audio, UtteranceCounter, silence, speech


class Run:
    """A session over an audio file, and what it delivered."""

    def __init__(
        self,
        pcm: np.ndarray,
        recognizer: UtteranceCounter | None = None,
        *,
        config: Config | None = None,
        load: Callable[[], None] = lambda: None,
        fails_at: float | None = None,
    ) -> None:
        self.recognizer = recognizer or UtteranceCounter()
        self.deliveries: list[Delivery] = []
        self.audio = Audio(pcm, fails_at=fails_at)
        self.fed: list[AudioChunk] = []

        def make() -> UtteranceCounter:
            load()
            return self.recognizer

        self.session = LiveSession(
            RealtimeSource(self.audio), make, config or Config(), self.deliveries.append, on_audio=self.fed.append
        )
        self.session.start()

    def of(self, kind: type) -> list:
        return [d.event for d in self.deliveries if isinstance(d.event, kind)]

    def texts(self) -> list[str]:
        return [final.text for final in self.of(Final)]

    def notices(self) -> list[str]:
        return [notice.kind for notice in self.of(Notice)]


def test_audio_is_fed_in_real_time_and_every_utterance_is_delivered() -> None:
    began = time.monotonic()
    run = Run(np.concatenate([speech(0.32), silence(0.32), speech(0.32)]))
    assert run.session.wait(10)
    assert time.monotonic() - began >= 0.96
    assert run.texts() == ["0.320", "0.320"]
    assert run.notices()[-1] == "source_ended"
    state = run.session.state
    assert (state.phase, state.backlog, state.lost) == ("stopped", 0.0, 0.0)
    assert state.elapsed == pytest.approx(0.96)
    assert run.audio.closed
    assert "recognizer" not in {thread.name for thread in threading.enumerate()}


def test_no_speech_is_lost_while_the_model_loads() -> None:
    run = Run(np.concatenate([speech(0.32), silence(0.32)]), load=lambda: time.sleep(0.4))
    time.sleep(0.2)
    assert run.session.state.phase == "loading"
    assert run.session.state.backlog == pytest.approx(0.2, abs=0.15)
    assert run.session.wait(10)
    assert run.texts() == ["0.320"]
    assert max(run.recognizer.backlogs) > 0.3, "the first chunks came with the audio behind them"
    assert run.session.state.load >= 0.4
    assert run.session.state.step == 0, "audio that waited for the model is not a slow machine"


def test_the_wall_time_of_a_sample_is_when_it_was_spoken_not_when_it_was_recognized() -> None:
    began = time.monotonic()
    run = Run(speech(0.64), load=lambda: time.sleep(0.4))
    assert run.session.wait(10)
    assert run.session.wall_time(0.32) == pytest.approx(began + 0.32, abs=0.05)
    assert run.session.wall_time(0.01) == pytest.approx(began + 0.01, abs=0.05)
    assert all(d.wall >= began + 0.64 for d in run.deliveries if isinstance(d.event, Final))


def test_latencies_are_measured_from_when_audio_existed_to_when_text_was_delivered() -> None:
    run = Run(np.concatenate([speech(0.64), silence(0.32), speech(0.32)]), load=lambda: time.sleep(1.0))
    assert run.session.wait(10)
    meter = LatencyMeter(run.session.wall_time)
    for delivery in run.deliveries:
        if not isinstance(delivery.event, Notice):
            meter.add(delivery.event, delivery.wall, cut_short=delivery.cut_short)
    assert meter.first_partial.count == 2
    # the first utterance ended at 0.64 s and the model was there at 1.0 s
    assert meter.finalization.values[0] == pytest.approx(0.36, abs=0.15)
    assert meter.finalization.count == 1, "the second was cut short by the end"


def test_wall_time_before_any_audio_is_refused() -> None:
    clock = AudioClock()
    with pytest.raises(ValueError, match="nothing has been captured"):
        clock.wall(0.0)
    for n in range(1, 100_000):  # long sessions forget the oldest anchors, and keep to their memory
        clock.add(n * STEP_S, 50 + n * STEP_S)
    assert clock.wall(99_000 * STEP_S - 0.01) == pytest.approx(50 + 99_000 * STEP_S - 0.01)


def test_pausing_finishes_the_utterance_and_resuming_goes_on_where_it_stood() -> None:
    run = Run(speech(0.96))
    time.sleep(0.3)
    run.session.pause()
    time.sleep(0.3)
    assert run.session.state.phase == "paused"
    assert run.session.state.speech_probability == 0, "nobody speaks"
    assert len(run.texts()) == 1
    before = run.session.state.elapsed
    time.sleep(0.2)
    assert run.session.state.elapsed == before
    run.session.resume()
    assert run.session.wait(10)
    total = sum(float(text) for text in run.texts())
    assert total == pytest.approx(0.96, abs=1e-3), "no sample twice, none lost"
    assert run.notices().count("paused") == run.notices().count("resumed") == 1
    assert run.of(AudioGap) == [], "silence in a pause is no loss"


def test_mute_feeds_silence_so_that_time_goes_on() -> None:
    run = Run(speech(0.96))
    time.sleep(0.3)
    run.session.mute()
    assert run.session.state.muted
    assert run.session.wait(10)
    assert len(run.texts()) == 1 and 0.1 < float(run.texts()[0]) < 0.6
    assert run.session.state.elapsed == pytest.approx(0.96)
    assert run.fed[-1].pcm.max() == 0, "a recording holds the audio that was fed"


def test_stop_works_off_the_audio_and_finishes_the_utterance() -> None:
    run = Run(speech(5.0), load=lambda: time.sleep(0.3))
    time.sleep(0.2)
    assert run.session.stop(timeout=5)
    assert [float(t) for t in run.texts()] == [pytest.approx(0.2, abs=0.1)]
    assert run.session.stop()  # again: nothing to do
    assert "source_ended" not in run.notices(), "it did not end by itself"


def test_abort_lets_go_at_once() -> None:
    run = Run(speech(5.0), UtteranceCounter(lambda: 0.05))
    time.sleep(0.2)
    run.session.abort()
    assert run.session.wait(1)
    assert run.texts() == []


def test_a_recognizer_that_cannot_be_loaded_is_one_sentence() -> None:
    def refuse() -> None:
        raise BundleError("The bundle en-tiny lacks encode.")

    run = Run(speech(1.0), load=refuse)
    assert run.session.wait(5)
    sentence = "The bundle en-tiny lacks encode."
    assert run.of(Failed) == [Failed(0.0, sentence)]
    assert (run.session.state.phase, run.session.state.error) == ("failed", sentence)


def test_a_source_that_breaks_keeps_the_text_so_far() -> None:
    run = Run(speech(1.0), fails_at=0.5)
    assert run.session.wait(5)
    assert run.texts() == ["0.500"]
    assert [f.message for f in run.of(Failed)] == ["The disk was pulled out."]


def test_an_unforeseen_fault_of_the_recognizer_ends_the_session_with_a_sentence() -> None:
    class Broken(UtteranceCounter):
        def feed(self, pcm: np.ndarray, *, backlog: float = 0.0) -> list[Event]:
            raise RuntimeError("delegate said 0x12")

    run = Run(speech(1.0), Broken())
    assert run.session.wait(5)
    assert "delegate said 0x12" in run.session.state.error
    assert "Traceback" not in run.session.state.error


def test_a_slow_recognizer_is_given_less_to_do_and_all_of_it_when_it_keeps_up_again(monkeypatch) -> None:
    for name, value in (("BEHIND", 0.3), ("CAUGHT_UP", 0.1), ("PATIENCE", 0.3), ("RECOVERY", 0.4)):
        monkeypatch.setattr(f"device_asr.dictation.pace.{name}", value)
    slow_until = time.monotonic() + 1.5
    run = Run(speech(5.0), UtteranceCounter(lambda: 0.045 if time.monotonic() < slow_until else 0.0))
    assert run.session.wait(20)
    kinds = [k for k in run.notices() if k in ("behind", "recovered")]
    assert kinds == ["behind", "behind", "recovered", "recovered"]
    steps = [n.step for n in run.of(Notice) if n.kind in ("behind", "recovered")]
    assert steps == [1, 2, 1, 0]
    changes = [interval for interval, _ in itertools.groupby(run.recognizer.intervals)]
    assert changes == [0.48, 0.48 * STRETCH, None, 0.48 * STRETCH, 0.48]
    assert run.texts() == ["5.000"], "shown less often, with the same text"


class TestPace:
    def behind(self, pace: Pace, start: float, seconds: float, backlog: float) -> list[tuple[float, int]]:
        turns = []
        for tick in range(int(seconds * 10)):
            turn = pace.update(start + tick / 10, backlog)
            if turn:
                turns.append((start + tick / 10, turn))
        return turns

    def test_a_machine_that_keeps_up_is_left_alone(self) -> None:
        pace = Pace(0.5)
        assert self.behind(pace, 0, 100, BEHIND - 0.1) == []
        assert pace.partial_interval() == 0.5

    def test_audio_that_piles_up_while_the_recognizer_is_started_again_is_no_slow_machine(self) -> None:
        pace = Pace(0.5)
        pace.update(0, 0)
        pace.excuse()
        assert self.behind(pace, 1, PATIENCE, BEHIND + 1) == []
        assert [turn for _, turn in self.behind(pace, 1 + PATIENCE, 1, BEHIND + 1)] == [1]

    def test_each_step_is_given_time_to_work(self) -> None:
        pace = Pace(0.5)
        pace.update(0, 0)
        up = self.behind(pace, 1, 20, BEHIND + 1)
        assert [turn for _, turn in up] == [1] * LAST_STEP
        assert up[1][0] - up[0][0] >= PATIENCE
        assert pace.partial_interval() is None

    def test_steps_go_back_one_by_one_and_more_slowly_after_a_relapse(self) -> None:
        pace = Pace(0.5)
        pace.update(0, 0)
        self.behind(pace, 1, 20, BEHIND + 1)
        first = self.behind(pace, 21, RECOVERY + 1, 0.0)
        assert [turn for _, turn in first] == [-1]
        relapse = self.behind(pace, 33, 2, BEHIND + 1)
        assert [turn for _, turn in relapse] == [1]
        assert self.behind(pace, 35, RECOVERY + 1, 0.0) == []
        assert [turn for _, turn in self.behind(pace, 46, RECOVERY + 1, 0.0)] == [-1]

    def test_without_partials_there_is_nothing_to_give_up(self) -> None:
        pace = Pace(None)
        assert self.behind(pace, 0, 20, 100.0) == []

    def test_the_session_takes_no_step_where_partials_are_off(self) -> None:
        run = Run(speech(0.1), config=Config(partial=PartialConfig(enabled=False)))
        assert run.session.wait(5)
        assert run.session.state.partial_interval is None


def test_levels() -> None:
    tone = 0.5 * np.sin(np.linspace(0, 200 * np.pi, SAMPLE_RATE)).astype(np.float32)
    level = measure(tone)
    assert level.peak_db == pytest.approx(-6.02, abs=0.05)
    assert level.rms_db == pytest.approx(-9.03, abs=0.05)
    assert not level.clipped
    assert measure(np.ones(10, np.float32)).clipped
    assert measure(silence(0.1)).rms_db == FLOOR_DB == measure(silence(0)).peak_db


def test_a_file_is_played_whole_and_on_time() -> None:
    path = ASSETS / "timer.flac"
    source = RealtimeSource(FileSource(path))
    source.start()
    began = time.monotonic()
    chunks = list(source)
    pcm = np.concatenate([chunk.pcm for chunk in chunks])
    assert np.array_equal(pcm, np.concatenate([chunk.pcm for chunk in FileSource(path)]))
    assert time.monotonic() - began == pytest.approx(pcm.size / SAMPLE_RATE, abs=0.1)
    assert [c.captured - began for c in chunks] == pytest.approx(
        [c.start + c.pcm.size / SAMPLE_RATE for c in chunks], abs=0.01
    )
    assert source.name.endswith("timer.flac") and source.backlog == 0
    with pytest.raises(DeviceError, match="is being played"):
        source.select("usb")
