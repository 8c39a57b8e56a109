"""Drives the interface over a real live session and a stand-in recognizer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from textual.pilot import Pilot

from device_asr.audio.realtime import RealtimeSource
from device_asr.config import Config, InterfaceConfig, SessionConfig
from device_asr.tui.app import DictationApp
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
