"""Pictures of the interface, compared with those that are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from device_asr.audio.file import FileSource
from device_asr.audio.realtime import RealtimeSource
from device_asr.commands.demo import shipped_audio
from device_asr.config import Config, InterfaceConfig, SessionConfig
from device_asr.dictation import remote
from device_asr.events import Partial
from device_asr.tui.app import DictationApp
from device_asr.tui.widgets.latency_panel import LatencyPanel
from device_asr.tui.widgets.transcript_view import TranscriptView
from tests.support.finals import final
from tests.support.interface import until
from tests.support.utterance_counter import Audio, UtteranceCounter, silence


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
    app._notice.hold("device", "The microphone is gone.")
    assert compared(app, snap_compare, size)


@pytest.mark.parametrize("keys", [("question_mark",), ("s",), ("shift+up",)], ids=["help", "save", "chosen-line"])
def test_pictures_of_dialogs(
    tmp_path: Path, snap_compare: Callable[..., bool], monkeypatch: pytest.MonkeyPatch, keys: tuple[str, ...]
) -> None:
    monkeypatch.setattr("device_asr.dictation.session_writer.new_names", lambda *_: iter(["2026-01-02_03-04-05"]))
    monkeypatch.setattr("device_asr.tui.app.Path.cwd", lambda: Path("/home/priya"))
    assert compared(picture(tmp_path, monkeypatch, "dark"), snap_compare, (80, 24), *keys)


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
