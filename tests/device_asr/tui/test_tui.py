"""The interface, driven by keys, over a real live session and a stand-in recognizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from textual.pilot import Pilot

from device_asr.audio.file import FileSource
from device_asr.commands.replay import replay
from device_asr.dictation import history as sessions
from device_asr.errors import BundleError
from device_asr.tui.app import DictationApp
from device_asr.tui.keys import KEYS
from device_asr.tui.screens.help import HelpScreen
from device_asr.tui.widgets.latency_panel import LatencyPanel
from device_asr.tui.widgets.level_meter import LevelMeter
from device_asr.tui.widgets.notice_line import NoticeLine
from device_asr.tui.widgets.state_line import StateLine
from tests.support.interface import run, until
from tests.support.utterance_counter import UtteranceCounter, silence, speech


def test_words_appear_and_q_finishes_the_utterance_into_the_session_file(tmp_path: Path) -> None:
    async def scenario(app: DictationApp, pilot: Pilot) -> None:
        await until(pilot, lambda: app.transcript.lines and app.transcript.partial)
        await until(pilot, lambda: "p50" in app.query_one(LatencyPanel).text)
        assert "listening audio" in app.query_one(StateLine).text
        assert "speech 1.00" in app.query_one(LevelMeter).text
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running)

    app = run(tmp_path, scenario)
    kept = sessions.find(tmp_path, app.writer.id).lines
    assert kept[0].text == "0.500"
    assert len(kept) == 2, "the utterance in progress was finished"


def test_ctrl_c_leaves_as_q_does(tmp_path: Path) -> None:
    async def scenario(app: DictationApp, pilot: Pilot) -> None:
        await until(pilot, lambda: app.transcript.lines and app.transcript.partial)
        await pilot.press("ctrl+c")
        await until(pilot, lambda: not app.is_running)

    assert len(sessions.find(tmp_path, run(tmp_path, scenario).writer.id).lines) == 2


def test_space_pauses_m_mutes_t_changes_the_theme_and_help_explains(tmp_path: Path) -> None:
    async def scenario(app: DictationApp, pilot: Pilot) -> None:
        await until(pilot, lambda: app.session.state.phase == "listening")
        await pilot.press("space")
        await until(pilot, lambda: app.query_one(StateLine).text.startswith("○ paused"))
        await pilot.press("space")
        await until(pilot, lambda: app.session.state.phase == "listening")
        await pilot.press("m")
        await until(pilot, lambda: "muted" in app.query_one(StateLine).text)
        former = app.theme
        await pilot.press("t")
        assert app.theme != former
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, HelpScreen))

    run(tmp_path, scenario)


def test_the_command_palette_holds_every_action(tmp_path: Path) -> None:
    async def scenario(app: DictationApp, pilot: Pilot) -> None:
        await until(pilot, lambda: app.session.state.phase == "listening")
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert len(titles) == len(set(titles))
        assert {binding.description for binding in KEYS} <= set(titles)
        await pilot.press("ctrl+p", *"mute")
        await pilot.pause(0.5)
        await pilot.press("enter", "enter")
        await until(pilot, lambda: app.session.state.muted)

    run(tmp_path, scenario)


def test_a_line_is_edited_copied_and_saved(tmp_path: Path) -> None:
    target = tmp_path / "letter.vtt"

    async def scenario(app: DictationApp, pilot: Pilot) -> None:
        await until(pilot, lambda: app.transcript.lines)
        await pilot.press("shift+up", "enter")
        await pilot.press("ctrl+u", *"Half", "enter")
        await until(pilot, lambda: app.transcript.lines[0].text == "Half")
        await pilot.press("c")
        assert app.clipboard == "Half"
        await until(pilot, lambda: len(app.transcript.lines) == 2)
        await pilot.press("c")
        assert app.clipboard == "Half", "without a mouse the chosen line is the selection"
        await pilot.press("escape", "c")
        assert app.clipboard == app.transcript.text() != "Half"
        await pilot.press("s")
        await pilot.press("ctrl+u", *str(target), "enter")
        await until(pilot, target.exists)

    app = run(tmp_path / "kept", scenario, pcm=np.concatenate([speech(0.5), silence(0.3), speech(0.8), silence(20)]))
    assert target.read_text().startswith("WEBVTT") and "Half" in target.read_text()
    assert sessions.find(tmp_path / "kept", app.writer.id).lines[0].text == "Half"


def test_new_begins_a_session_whose_recording_and_times_begin_there(tmp_path: Path) -> None:
    async def scenario(app: DictationApp, pilot: Pilot) -> None:
        await until(pilot, lambda: app.transcript.lines)
        former = app.writer.id
        await pilot.press("n")
        await until(pilot, lambda: app.writer.id != former)
        await until(pilot, lambda: app.transcript.lines)

    app = run(tmp_path, scenario, record=True, pcm=np.concatenate([speech(0.5), silence(2), speech(0.5), silence(2)]))
    first, second = sessions.list_sessions(tmp_path)
    assert (len(first.lines), len(second.lines)) == (1, 1)
    assert second.id == app.writer.id and second.lines[0].final.start < 2.1
    again = [f.text for f in replay(second, second.recording, UtteranceCounter())]
    assert again == [line.final.text for line in second.lines], "a replay recognizes the same text"


def test_new_in_mid_utterance_finishes_it_where_it_was_spoken(tmp_path: Path) -> None:
    """Words before the key belong to the former session, and no time in a file is of the other one."""

    async def scenario(app: DictationApp, pilot: Pilot) -> None:
        await until(pilot, lambda: app.transcript.partial)
        former = app.writer.id
        await pilot.press("n")
        await until(pilot, lambda: app.writer.id != former)
        assert app.transcript.lines == []
        await until(pilot, lambda: app.transcript.partial)
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running)

    app = run(tmp_path, scenario, record=True, pcm=speech(30))
    kept = sessions.list_sessions(tmp_path)
    assert [len(session.lines) for session in kept] == [1, 1]
    assert kept[1].id == app.writer.id
    for session in kept:
        seconds, (line,) = recorded(session), session.lines
        assert line.final.start == 0.0, "it was spoken from the first sample on"
        assert line.final.end == pytest.approx(seconds, abs=1e-3) and line.final.time <= seconds + 1e-3
        assert float(line.text) == pytest.approx(seconds, abs=1e-3), "its whole audio, and no more"
        again = [f.text for f in replay(session, session.recording, UtteranceCounter())]
        assert again == [line.text], "a replay recognizes the same text"


def recorded(session: sessions.Session) -> float:
    """Seconds of its recording."""
    return FileSource(session.recording).seconds


def test_new_while_paused_begins_at_once(tmp_path: Path) -> None:
    async def scenario(app: DictationApp, pilot: Pilot) -> None:
        await until(pilot, lambda: app.transcript.partial)
        await pilot.press("space")
        await until(pilot, lambda: app.transcript.lines)
        former = app.writer.id
        await pilot.press("n")
        await until(pilot, lambda: app.writer.id != former)

    run(tmp_path, scenario, pcm=speech(30))
    (kept,) = sessions.list_sessions(tmp_path)
    assert len(kept.lines) == 1, "and the new one, without text, leaves no file"


def test_a_recognizer_that_cannot_be_loaded_is_reported_on_the_screen(tmp_path: Path) -> None:
    def refuse() -> UtteranceCounter:
        raise BundleError("The bundle lacks encode.")

    async def scenario(app: DictationApp, pilot: Pilot) -> None:
        await until(pilot, lambda: "lacks encode" in app.query_one(NoticeLine).text)

    assert run(tmp_path, scenario, make=refuse).failure == "The bundle lacks encode."


def test_a_slow_machine_is_reported_how_far_behind_it_is(tmp_path: Path) -> None:
    async def scenario(app: DictationApp, pilot: Pilot) -> None:
        await until(pilot, lambda: "behind by" in app.query_one(NoticeLine).text, 15)

    run(tmp_path, scenario, make=lambda: UtteranceCounter(lambda: 0.1))
