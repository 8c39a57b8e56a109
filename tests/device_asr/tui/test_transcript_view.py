"""The transcript on the screen: brightness, scrolling, pages."""

from __future__ import annotations

import gc
from pathlib import Path

from textual.pilot import Pilot
from textual.strip import Strip

from device_asr.events import Partial
from device_asr.tui.app import DictationApp
from device_asr.tui.widgets.latency_panel import LatencyPanel
from device_asr.tui.widgets.transcript_view import Page, TranscriptView
from tests.support.finals import final
from tests.support.interface import run, until
from tests.support.utterance_counter import silence


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
