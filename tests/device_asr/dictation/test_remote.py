"""The recognizer in a process of its own: the same events, a free interface, sentences for crashes."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time

import numpy as np
import psutil
import pytest

from device_asr.audio.format import STEP, STEP_S
from device_asr.audio.realtime import RealtimeSource
from device_asr.config import Config
from device_asr.dictation.remote import RemoteRecognizer
from device_asr.dictation.session import Delivery, LiveSession
from device_asr.errors import BundleError
from device_asr.events import AudioGap, Event, Failed, Final
from tests.support.utterance_counter import Audio, UtteranceCounter, silence, speech


class Holding(UtteranceCounter):
    """Holds the interpreter's lock for 250 ms a call, as ExecuTorch does for a long encoding."""

    def feed(self, pcm: np.ndarray, *, backlog: float = 0.0) -> list[Event]:
        ctypes.PyDLL(None).usleep(250_000)
        return super().feed(pcm, backlog=backlog)


class Crashing(UtteranceCounter):
    def feed(self, pcm: np.ndarray, *, backlog: float = 0.0) -> list[Event]:
        os.kill(os.getpid(), signal.SIGSEGV)
        return []


class Failing(UtteranceCounter):
    def feed(self, pcm: np.ndarray, *, backlog: float = 0.0) -> list[Event]:
        raise ValueError("wanted finite samples")


class Obeying(UtteranceCounter):
    def gap(self, lost: float, reason: str = "overflow") -> list[Event]:
        return [AudioGap(self.partial_interval or -1.0, lost, reason)]


def no_bundle() -> UtteranceCounter:
    raise BundleError("The bundle en-tiny lacks encode.")


def test_the_same_events_as_in_this_process() -> None:
    pcm = np.concatenate([speech(0.5), silence(0.1), speech(0.3)])
    local, remote = UtteranceCounter(), RemoteRecognizer(UtteranceCounter)
    try:
        for at in range(0, len(pcm), STEP):
            piece = pcm[at : at + STEP]
            assert remote.feed(piece) == local.feed(piece)
            assert (remote.time, remote.speech_probability) == (local.time, local.speech_probability)
        assert remote.gap(0.5, "unplugged") == local.gap(0.5, "unplugged")
        assert remote.finish() == local.finish()
    finally:
        remote.close()


def test_the_interval_of_partials_goes_across_both_ways() -> None:
    remote = RemoteRecognizer(Obeying)
    assert remote.partial_interval == 0.48
    remote.partial_interval = 1.5
    assert remote.gap(0.0)[0].time == 1.5
    remote.partial_interval = None
    assert remote.gap(0.0)[0].time == -1.0
    remote.close()
    remote.close()


def test_this_process_goes_on_while_the_recognizer_holds_its_interpreter() -> None:
    remote = RemoteRecognizer(Holding)
    worker = threading.Thread(target=lambda: [remote.feed(speech(STEP_S)) for _ in range(4)])
    worker.start()
    gaps, last = [], time.monotonic()
    while worker.is_alive():
        time.sleep(0.005)
        gaps.append(time.monotonic() - last)
        last = time.monotonic()
    remote.close()
    assert len(gaps) > 50
    # one pause may be the machine's; with the recognizer in this process four last 250 ms (measured)
    assert sorted(gaps)[-3] < 0.05


def test_what_loading_raises_is_raised_here() -> None:
    with pytest.raises(BundleError, match=r"lacks encode\."):
        RemoteRecognizer(no_bundle)


@pytest.mark.parametrize(
    ("recognizer", "sentence"),
    [
        (Crashing, "was ended by SIGSEGV, 5 times in a row"),
        (Failing, "ValueError: wanted finite samples, 5 times in a row"),
    ],
)
def test_a_recognizer_that_always_crashes_is_a_sentence_and_not_the_end_of_the_interface(
    recognizer: type, sentence: str
) -> None:
    deliveries: list[Delivery] = []
    session = LiveSession(
        RealtimeSource(Audio(speech(1.0))), lambda: RemoteRecognizer(recognizer), Config(), deliveries.append
    )
    session.start()
    assert session.wait(20)
    [failed] = [d.event for d in deliveries if isinstance(d.event, Failed)]
    assert sentence in failed.message
    assert session.state.phase == "failed"


def test_a_session_ends_the_process_it_started() -> None:
    deliveries: list[Delivery] = []
    before = {child.pid for child in psutil.Process().children()}
    session = LiveSession(
        RealtimeSource(Audio(speech(0.5))), lambda: RemoteRecognizer(UtteranceCounter), Config(), deliveries.append
    )
    session.start()
    assert session.wait(20)
    assert [d.event.text for d in deliveries if isinstance(d.event, Final)] == ["0.500"]
    started = [child for child in psutil.Process().children() if child.pid not in before]
    assert [child for child in started if "resource_tracker" not in " ".join(child.cmdline())] == []
