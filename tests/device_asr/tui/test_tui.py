"""The interface, driven by keys, over a real live session and a stand-in recognizer."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from textual.pilot import Pilot
from textual.strip import Strip

from device_asr.audio.file import FileSource
from device_asr.audio.realtime import RealtimeSource
from device_asr.commands.config import command as config_command
from device_asr.commands.demo import shipped_audio
from device_asr.commands.replay import replay, word_diff
from device_asr.config import Config, InterfaceConfig, SessionConfig
from device_asr.dictation import history as sessions
from device_asr.dictation import remote
from device_asr.errors import BundleError, UsageError
from device_asr.events import Partial
from device_asr.tui.app import DictationApp
from device_asr.tui.keys import KEYS, keymap
from device_asr.tui.moving import Moving
from device_asr.tui.pages import pages
from device_asr.tui.screens.help import HelpScreen
from device_asr.tui.widgets.latency_panel import LatencyPanel
from device_asr.tui.widgets.level_meter import LevelMeter
from device_asr.tui.widgets.notice_line import NoticeLine
from device_asr.tui.widgets.state_line import StateLine
from device_asr.tui.widgets.transcript_view import Page, TranscriptView
from tests.support.finals import final
from tests.support.utterance_counter import Audio, UtteranceCounter, silence, speech

Scenario = Callable[[DictationApp, Pilot], Awaitable[None]]


def run(
    tmp_path: Path,
    scenario: Scenario,
    *,
    pcm: np.ndarray | None = None,
    size: tuple[int, int] = (80, 24),
    make: Callable[[], UtteranceCounter] = UtteranceCounter,
    record: bool = False,
    keys: dict[str, str] | None = None,
) -> DictationApp:
    """The app over `pcm`, through `scenario`; then closed."""
    config = replace(
        Config(), session=SessionConfig(folder=str(tmp_path), record=record), interface=InterfaceConfig(keys=keys or {})
    )
    audio = np.concatenate([speech(0.5), silence(0.3), speech(30)]) if pcm is None else pcm
    app = DictationApp(RealtimeSource(Audio(audio)), make, config)

    async def drive() -> None:
        async with app.run_test(size=size) as pilot:
            await scenario(app, pilot)

    try:
        asyncio.run(drive())
    finally:
        app.close()
    return app


async def until(pilot: Pilot, condition: Callable[[], object], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        await pilot.pause(0.02)


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
    assert again == [line.final.text for line in second.lines], "a replay hears what was heard"


def test_new_in_mid_utterance_finishes_it_where_it_was_said(tmp_path: Path) -> None:
    """Words said before the key belong to the former session, and no time in a file is of the other one."""

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
        said, (line,) = sound_of(session), session.lines
        assert line.final.start == 0.0, "it was spoken from the first sample on"
        assert line.final.end == pytest.approx(said, abs=1e-3) and line.final.time <= said + 1e-3
        assert float(line.text) == pytest.approx(said, abs=1e-3), "its whole audio, and no more"
        again = [f.text for f in replay(session, session.recording, UtteranceCounter())]
        assert again == [line.text], "a replay hears what was heard"


def sound_of(session: sessions.Session) -> float:
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
    assert len(kept.lines) == 1, "and the new one, in which nothing was said, leaves no file"


def test_a_word_that_is_committed_turns_bright_though_the_text_is_the_same(tmp_path: Path) -> None:
    async def scenario(app: DictationApp, pilot: Pilot) -> None:
        view = app.query_one(TranscriptView)
        bright = []
        for committed in ("", "First, the"):
            view.add(Partial(0, "First, the introduction", committed, 0.0, 1.0, 1.0))
            await pilot.pause(0.1)
            strip = view.query(Page).last().render_line(0)
            bright.append("".join(s.text for s in strip if s.style and s.style.bold).strip())
        assert bright == ["", "First, the"]

    run(tmp_path, scenario, pcm=silence(30))


def test_pages_hold_whole_paragraphs_and_cut_only_a_very_long_one() -> None:
    assert list(pages([[0, 1], [2], [3, 4]], 3)) == [[[0, 1], [2]], [[3, 4]]]
    assert list(pages([[0], [1, 2, 3, 4, 5]], 2)) == [[[0]], [[1, 2]], [[3, 4]], [[5]]]
    assert list(pages([])) == []


def test_a_line_far_above_is_brought_into_view_when_it_is_chosen(tmp_path: Path) -> None:
    async def scenario(app: DictationApp, pilot: Pilot) -> None:
        view = app.query_one(TranscriptView)
        for n in range(60):
            view.transcript.add(final(f"This is utterance number {n} of a long dictation.", 5.0 * n, 5.0 * n + 1, n))
        view.redraw()
        await pilot.pause(0.3)
        assert len(view.query(Page)) == 2, "not a widget for each paragraph"
        await pilot.press(*["shift+up"] * 40)
        await pilot.pause(0.3)
        assert view.chosen == 20
        assert 40 - view.size.height < view.scroll_y <= 40, "each utterance takes two rows, with the blank one"

    run(tmp_path, scenario, pcm=silence(60))


def test_what_is_far_above_keeps_its_text_and_nothing_that_was_drawn(tmp_path: Path) -> None:
    async def scenario(app: DictationApp, pilot: Pilot) -> None:
        view = app.query_one(TranscriptView)
        strips = []
        for n in range(360):
            view.add(final(f"This is utterance number {n} of a long dictation.", 5.0 * n, 5.0 * n + 1, n))
            if n % 6 == 5:
                await pilot.pause()
            if n in (179, 359):
                await until(pilot, lambda: view.scroll_y == view.max_scroll_y)
                gc.collect()
                strips.append(sum(isinstance(found, Strip) for found in gc.get_objects()))
        assert strips[1] < 1.3 * strips[0], "twice the text, not twice what was drawn"
        shown = [str(page.render()) for page in view.query(Page)]
        assert "\n\n".join(shown) == app.transcript.text(), "every page is in its place"
        await pilot.press("home")
        await until(pilot, lambda: view.scroll_y == 0)
        first = view.query(Page).first()
        for n in range(360, 400):
            view.add(final(f"This is utterance number {n}.", 5.0 * n, 5.0 * n + 1, n))
        await pilot.pause()
        assert view.query(Page).first() is first, "what is being read is left alone"

    run(tmp_path, scenario, pcm=silence(90))


def test_in_a_small_window_the_text_goes_before_the_figures(tmp_path: Path) -> None:
    async def scenario(app: DictationApp, pilot: Pilot) -> None:
        assert not app.query_one(LatencyPanel).display
        assert app.query_one(TranscriptView).size.height >= 6
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: app.query_one(LatencyPanel).display)

    run(tmp_path, scenario, pcm=silence(30), size=(40, 10))


def test_scrolling_up_stops_the_following_of_the_newest_text(tmp_path: Path) -> None:
    async def scenario(app: DictationApp, pilot: Pilot) -> None:
        view = app.query_one(TranscriptView)
        for n in range(20):
            view.add(final(f"Utterance {n}.", 5.0 * n, 5.0 * n + 1, n))
        await until(pilot, lambda: view.scroll_y > 0 and view.scroll_y == view.max_scroll_y)
        await pilot.press("pageup")
        await until(pilot, lambda: view.scroll_y < view.max_scroll_y)
        await pilot.pause(0.5)
        stays = view.scroll_y
        view.add(final("One more.", 200, 201, 20))
        await pilot.pause(0.3)
        assert view.scroll_y == stays < view.max_scroll_y

    run(tmp_path, scenario, pcm=silence(30))


def test_keys_are_rebound_also_with_one_another(tmp_path: Path) -> None:
    async def scenario(app: DictationApp, pilot: Pilot) -> None:
        await until(pilot, lambda: app.session.state.phase == "listening")
        await pilot.press("f2")
        await until(pilot, lambda: app.session.state.phase == "paused")
        await pilot.press("c")
        await until(pilot, lambda: app.session.state.muted)

    run(tmp_path, scenario, keys={"pause": "f2", "mute": "c", "copy": "m"})


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"paus": "f2"}, "found 'paus'; the nearest is 'pause'"),
        ({"pause": "spce"}, "found 'spce'; the nearest is 'space'"),
        ({"pause": "hyper+x"}, "found 'hyper+x'; the nearest is"),
        ({"pause": " , "}, "wanted a key"),
        ({"pause": "m"}, "'m' is wanted for 'mute' and already means: pause"),
        ({"pause": "f2", "mute": "f5,f2"}, "'f2' is wanted for 'mute' and already means: pause"),
        ({"pause": "enter"}, "'enter' is wanted for 'pause' and already means: edit a line"),
        ({"quit": "ctrl+c"}, "'ctrl+c' is wanted for 'interrupt' and already means: quit"),
    ],
)
def test_keys_that_cannot_be_are_told(tmp_path: Path, keys: dict[str, str], sentence: str) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)):
        keymap(keys)
    table = ", ".join(f"{action} = {key!r}" for action, key in keys.items())
    (tmp_path / "config.toml").write_text(f"[interface]\nkeys = {{ {table} }}\n")
    done = CliRunner().invoke(config_command, ["--config", str(tmp_path / "config.toml")])
    assert isinstance(done.exception, UsageError), "`device-asr config` tells it too"


def test_keys_may_be_written_as_the_character() -> None:
    assert keymap({"help": "?", "pause": ",", "mute": " ", "new": "+", "copy": "ctrl+k, f5"}) == {
        "help": "question_mark",
        "pause": "comma",
        "mute": "space",
        "new": "plus",
        "copy": "ctrl+k,f5",
    }


class TestMoving:
    """The utterance in progress on the screen."""

    def shown(self, *partials: tuple[str, str]) -> list[tuple[str, str]]:
        moving = Moving()
        return [moving.show(Partial(0, text, committed, 0, 1, 1)) for text, committed in partials]

    def test_committed_words_are_never_drawn_dim_again(self) -> None:
        shown = self.shown(
            ("I read it", ""),
            ("I read it on", "I read it"),
            ("I read it on", "I read"),
            ("I red it on the", "I read it"),
        )
        assert [bright for bright, _ in shown] == ["", "I read it", "I read it", "I read it"]
        assert shown[-1] == ("I read it", " on the")

    def test_a_tail_that_is_lost_and_found_again_does_not_move(self) -> None:
        shown = self.shown(
            ("I read it on the train", "I"), ("I read it on", "I read"), ("I read it on the train this", "I read it")
        )
        assert ["".join(parts) for parts in shown] == [
            "I read it on the train",
            "I read it on the train",
            "I read it on the train this",
        ]

    def test_a_tail_that_stays_away_goes(self) -> None:
        shown = self.shown(("Two words more", ""), ("Two words", ""), ("Two words", "Two"))
        assert ["".join(parts) for parts in shown] == ["Two words more", "Two words more", "Two words"]

    def test_a_tail_that_says_something_else_changes_at_once(self) -> None:
        assert self.shown(("I red", ""), ("I read", ""))[-1] == ("", "I read")

    def test_another_utterance_begins_anew_and_asking_again_changes_nothing(self) -> None:
        moving = Moving()
        moving.show(Partial(0, "First words here", "First", 0, 1, 1))
        second = Partial(1, "First", "", 2, 3, 3)
        assert moving.show(second) == moving.show(second) == ("", "First")
        assert moving.show(None) == ("", "")


def test_a_recognizer_that_cannot_be_loaded_is_told_on_the_screen(tmp_path: Path) -> None:
    def refuse() -> UtteranceCounter:
        raise BundleError("The bundle lacks encode.")

    async def scenario(app: DictationApp, pilot: Pilot) -> None:
        await until(pilot, lambda: "lacks encode" in app.query_one(NoticeLine).text)

    assert run(tmp_path, scenario, make=refuse).failure == "The bundle lacks encode."


def test_a_slow_machine_is_told_how_far_behind_it_is(tmp_path: Path) -> None:
    async def scenario(app: DictationApp, pilot: Pilot) -> None:
        await until(pilot, lambda: "behind by" in app.query_one(NoticeLine).text, 15)

    run(tmp_path, scenario, make=lambda: UtteranceCounter(lambda: 0.1))


def test_word_differences() -> None:
    assert word_diff(["a", "b", "c"], ["a", "x", "c", "d"]) == ("a [-b-] {+x+} c {+d+}", 2)


def _fixed(app: DictationApp) -> None:
    """What a picture needs: text, and no clock."""
    view = app.query_one(TranscriptView)
    view.add(final("Dear Priya, thank you for sending the draft so quickly.", 0.6, 4.0))
    view.add(final("I read it on the train this morning.", 7.0, 9.0, 1))
    view.add(Partial(2, "First, the introduction is to", "First, the", 10.0, 11.5, 11.5))


def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theme: str) -> DictationApp:
    """The app with nothing running, so that two pictures are equal."""
    config = replace(Config(), session=SessionConfig(folder=str(tmp_path)), interface=InterfaceConfig(theme=theme))
    app = DictationApp(RealtimeSource(Audio(silence(1))), UtteranceCounter, config)
    monkeypatch.setattr(app, "_start", lambda: None)
    monkeypatch.setattr(LatencyPanel, "_measure", lambda self: None)
    return app


def compared(app: DictationApp, snap_compare: Callable[..., bool], size: tuple[int, int], *keys: str) -> bool:
    async def before(pilot: Pilot) -> None:
        _fixed(app)
        app._refresh_level()
        app._refresh_latency()
        await pilot.press(*keys)
        await pilot.pause()

    try:
        return snap_compare(app, terminal_size=size, run_before=before)
    finally:
        app.close()


SIZES = pytest.mark.parametrize("size", [(80, 24), (200, 60)], ids=["80x24", "200x60"])


@SIZES
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_pictures(
    tmp_path: Path,
    snap_compare: Callable[..., bool],
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    theme: str,
) -> None:
    assert compared(picture(tmp_path, monkeypatch, theme), snap_compare, size)


@SIZES
def test_pictures_without_color(
    tmp_path: Path, snap_compare: Callable[..., bool], monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = picture(tmp_path, monkeypatch, "dark")
    assert app.no_color
    app._report("The microphone is gone.", alarm=True)
    assert compared(app, snap_compare, size)


@pytest.mark.parametrize("keys", [("question_mark",), ("s",), ("shift+up",)], ids=["help", "save", "chosen-line"])
def test_pictures_of_dialogs(
    tmp_path: Path, snap_compare: Callable[..., bool], monkeypatch: pytest.MonkeyPatch, keys: tuple[str, ...]
) -> None:
    monkeypatch.setattr(
        "device_asr.dictation.history._create", lambda folder, _: _opened(folder / "2026-01-02_03-04-05.jsonl")
    )
    monkeypatch.setattr("device_asr.tui.app.Path.cwd", lambda: Path("/home/priya"))
    assert compared(picture(tmp_path, monkeypatch, "dark"), snap_compare, (80, 24), *keys)


def _opened(path: Path) -> tuple[Path, int]:
    return path, os.open(path, os.O_WRONLY | os.O_CREAT)


@pytest.mark.slow
def test_the_picture_of_the_readme_is_of_the_letter_and_the_real_recognizer(tmp_path: Path) -> None:
    config = replace(Config(), session=SessionConfig(folder=str(tmp_path)))
    app = DictationApp(RealtimeSource(FileSource(shipped_audio())), lambda: remote.load(config), config)

    async def drive() -> None:
        async with app.run_test(size=(100, 28)) as pilot:
            await until(pilot, lambda: len(app.transcript.lines) >= 3 and app.transcript.partial, 40)
            await pilot.pause(1)
            assert "Dear Priya" in app.transcript.text()
            assert app.meter.finalization.count >= 3
            app.save_screenshot("interface.svg", str(shipped_audio().parent))

    try:
        asyncio.run(drive())
    finally:
        app.close()
