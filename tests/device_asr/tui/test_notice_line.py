"""The line above the keys: what is shown when several things want to be said."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from textual.pilot import Pilot

from device_asr.dictation.state import Delivery, Notice
from device_asr.events import AudioGap
from device_asr.tui.app import DictationApp
from device_asr.tui.messages import Delivered
from device_asr.tui.widgets.notice_line import ALARMS, ANSWER, NoticeLine
from tests.support.interface import run, until
from tests.support.utterance_counter import UtteranceCounter, silence, speech


class Line(NoticeLine):
    """With a clock that stands still, and a machine at a step of the slow-machine ladder."""

    def __init__(self, step: int = 0) -> None:
        super().__init__(clock=lambda: self.now)
        self.now = 100.0
        self.state = SimpleNamespace(behind=2.0 if step else 0.0, step=step, partial_interval=None)

    def __str__(self) -> str:
        self.refresh_notice(self.state)
        return self.text


def test_the_latest_message_is_shown_where_nothing_else_is() -> None:
    line = Line()
    line.tell("Listening.")
    line.tell("The source has ended.")
    assert str(line) == "The source has ended."


@pytest.mark.parametrize("alarm", ALARMS)
def test_no_message_takes_the_place_of_an_alarm(alarm: str) -> None:
    line = Line()
    line.hold(alarm, "Something is wrong.")
    line.tell("The source has ended.")
    assert str(line) == "! Something is wrong."
    line.hold(alarm, None)
    assert str(line) == "The source has ended."


@pytest.mark.parametrize("step", [0, 1, 2])
@pytest.mark.parametrize("alarm", [None, "failure", "disk", "device", "recording"])
def test_an_answer_is_shown_at_every_step_and_over_every_alarm_and_the_alarm_comes_back(
    step: int, alarm: str | None
) -> None:
    line = Line(step)
    if alarm:
        line.hold(alarm, "Something is wrong.")
    line.answer("Saved a.txt.")
    line.tell("The source has ended.")
    assert str(line) == "Saved a.txt."
    line.now += ANSWER + 0.1
    assert str(line).startswith("! Something is wrong." if alarm else "! behind by" if step else "Saved a.txt.")


def test_alarms_stand_side_by_side_the_worst_first_and_being_behind_after_them() -> None:
    line = Line(step=2)
    for alarm in reversed(ALARMS):
        line.hold(alarm, f"{alarm}.")
    assert str(line).startswith("! failure.  disk.  device.  recording.  gap.  refused.  behind by 2.0 s")


def test_a_new_alarm_does_not_wait_and_one_that_goes_on_does() -> None:
    line = Line()
    line.answer("Saved a.txt.")
    line.hold("disk", "Not kept: 1 utterance.")
    assert str(line) == "! Not kept: 1 utterance."
    line.answer("Copied 3 words.")
    line.hold("disk", "Not kept: 2 utterances.")
    assert str(line) == "Copied 3 words."


def test_a_key_that_is_answered_ends_the_alarm_of_lost_audio_and_of_a_refused_key() -> None:
    line = Line()
    line.hold("gap", "120 ms of audio were lost.")
    line.hold("refused", "Not saved.")
    line.answer("Saved a.txt.")
    line.now += ANSWER + 0.1
    assert str(line) == "Saved a.txt."


def test_the_end_of_the_source_does_not_hide_that_audio_was_lost(tmp_path: Path) -> None:
    async def scenario(app: DictationApp, pilot: Pilot) -> None:
        notice = app.query_one(NoticeLine)
        app.post_message(Delivered(Delivery(AudioGap(0.1, 0.12), 0.0)))
        app.post_message(Delivered(Delivery(Notice("device_lost", "The microphone is gone."), 0.0)))
        await until(pilot, lambda: app.session.state.phase != "listening" and app.transcript.lines)
        await pilot.pause(0.2)
        assert notice.text == "! The microphone is gone.  120 ms of audio were lost (overflow)."
        app.post_message(Delivered(Delivery(Notice("device_opened", "Listening to another one."), 0.0)))
        await pilot.press("c")
        await until(pilot, lambda: notice.text == "Copied 1 words.")

    run(tmp_path, scenario, pcm=np.concatenate([speech(0.3), silence(0.3)]))


def test_copied_is_shown_on_a_machine_that_is_too_slow(tmp_path: Path) -> None:
    async def scenario(app: DictationApp, pilot: Pilot) -> None:
        notice = app.query_one(NoticeLine)
        await until(pilot, lambda: app.session.state.step and "behind by" in notice.text, 20)
        await pilot.press("c")
        await until(pilot, lambda: notice.text.startswith("Copied"))

    run(tmp_path, scenario, make=lambda: UtteranceCounter(lambda: 0.1))
