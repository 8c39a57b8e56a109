"""The terminal interface over a `LiveSession`: it shows and keeps the text, and never touches the model."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from multiprocessing import resource_tracker
from pathlib import Path
from typing import ClassVar

from textual.app import App, ComposeResult, SystemCommand
from textual.binding import BindingType
from textual.containers import Container
from textual.screen import Screen
from textual.widgets import Footer

from device_asr.audio.format import SAMPLE_RATE
from device_asr.audio.live_source import LiveSource
from device_asr.audio.source import AudioChunk
from device_asr.config import Config
from device_asr.dictation.history import folder
from device_asr.dictation.session import LiveSession, RecognizerFactory
from device_asr.dictation.session_writer import SessionWriter
from device_asr.dictation.state import Delivery, Notice
from device_asr.dictation.transcript import Transcript, save
from device_asr.errors import DeviceAsrError
from device_asr.events import AudioGap, Failed, Final
from device_asr.metrics.latency import LatencyMeter
from device_asr.tui.keys import KEYS, keymap
from device_asr.tui.messages import Delivered, SessionBegun
from device_asr.tui.screens.ask import AskScreen
from device_asr.tui.screens.device import DeviceScreen
from device_asr.tui.screens.help import HelpScreen
from device_asr.tui.signals import on_termination
from device_asr.tui.widgets.latency_panel import LatencyPanel
from device_asr.tui.widgets.level_meter import LevelMeter
from device_asr.tui.widgets.notice_line import NoticeLine
from device_asr.tui.widgets.state_line import StateLine
from device_asr.tui.widgets.transcript_view import TranscriptView
from device_asr.writers import FORMATS

UPDATES = 30  # level and state, a second; 20 are wanted, and on a core shared by six programs 25 became 18
FINISHING = 10.0  # seconds for the utterance in progress where the interface ended by a fault
THEMES = {"dark": "textual-dark", "light": "textual-light"}
ALARMS = ("device_lost", "device_waiting")
PACE = ("behind", "recovered")  # the notice line shows these by itself; they do not hide an alarm


class DictationApp(App[None]):
    """Dictation in the terminal.

    Args:
        source, make_recognizer, config: as of `LiveSession`.

    Raises:
        UsageError: `interface.keys` names no action or no key, or one key twice.
        OutputError: the session's file cannot be written.
    """

    TITLE = "device-asr"
    CSS_PATH = Path(__file__).with_name("app.tcss")
    BINDINGS: ClassVar[list[BindingType]] = [*KEYS]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (140, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (18, "-high")]  # noqa: RUF012

    def __init__(self, source: LiveSource, make_recognizer: RecognizerFactory, config: Config) -> None:
        keys = keymap(config.interface.keys)
        super().__init__()
        # starting a process hands on standard error's descriptor, and while the interface runs it has none
        resource_tracker.ensure_running()
        self.config = config
        self.failure: str | None = None
        self.session = LiveSession(source, make_recognizer, config, self._delivered, on_audio=self._record)
        self.meter = LatencyMeter(self.session.wall_time)
        self.transcript = Transcript(config.interface.paragraph_s)
        self.writer = self._new_writer()  # of the transcript on the screen
        self._keeper = self.writer  # takes Finals and audio now; changed on the recognizer's thread
        self._fed = 0  # samples, counted on the recognizer's thread
        self._leaving = self._at_once = False
        self.updates = 0  # times that the level and the state were brought up to date
        # kept rather than looked up: events still come while the screen is being taken down
        self._state, self._level = StateLine(id="state"), LevelMeter(id="level")
        self._latency, self._notice = LatencyPanel(id="latency"), NoticeLine(id="notice")
        self._view = TranscriptView(self.transcript, id="transcript")
        self.theme = THEMES[config.interface.theme]
        self.set_keymap(keys)

    def _new_writer(self, offset: float = 0.0) -> SessionWriter:
        return SessionWriter(
            folder(self.config.session), model=self.config.model.name, record=self.config.session.record, offset=offset
        )

    def compose(self) -> ComposeResult:
        yield self._state
        yield self._level
        with Container(id="main"):
            yield self._view
            yield self._latency
        yield self._notice
        yield Footer(compact=True)

    def on_mount(self) -> None:
        on_termination(self._leave)
        self._view.focus()
        self.set_interval(1 / UPDATES, self._refresh_level)
        self.set_interval(1, self._refresh_latency)
        # capture begins after the first picture, which PortAudio's start would hold up
        self.call_after_refresh(self.run_worker, self._start, thread=True)

    def _start(self) -> None:
        try:
            self.session.start()
        except DeviceAsrError as error:
            self.post_message(Delivered(Delivery(Failed(0.0, str(error)), time.monotonic())))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The command palette: every key's action, then the toolkit's own commands."""
        own = [binding for binding in KEYS if binding.show]
        for binding in own:
            yield SystemCommand(binding.description, binding.tooltip, partial(self.run_action, binding.action))
        titles = {binding.description for binding in own}
        yield from (command for command in super().get_system_commands(screen) if command.title not in titles)

    # --- on the recognizer's thread --------------------------------------------------------------

    def _delivered(self, delivery: Delivery) -> None:
        event = delivery.event
        if isinstance(event, Final):
            self._keep(lambda: self._keeper.final(event, cut_short=delivery.cut_short))
        self.post_message(Delivered(delivery))

    def _record(self, chunk: AudioChunk) -> None:
        self._fed += chunk.pcm.size
        self._keep(lambda: self._keeper.audio(chunk.pcm))

    def _keep(self, write: Callable[[], object]) -> None:
        try:
            write()
        except DeviceAsrError as error:
            self.post_message(Delivered(Delivery(Failed(0.0, str(error)), time.monotonic())))

    def _begin_session(self) -> None:
        """Begins a new session at a cut, where the utterance so far belongs to the former one."""
        try:
            former, self._keeper = self._keeper, self._new_writer(self._fed / SAMPLE_RATE)
        except DeviceAsrError as error:
            self.post_message(SessionBegun(None, str(error)))
            return
        former.close()
        self.post_message(SessionBegun(self._keeper))

    # --- on the interface's thread ---------------------------------------------------------------

    def on_delivered(self, message: Delivered) -> None:
        event = message.delivery.event
        notice = self._notice
        if isinstance(event, Notice):
            if event.kind not in PACE or not notice.alarm:
                notice.report(event.message, alarm=event.kind in ALARMS)
            return
        if isinstance(event, Failed):
            self.failure = event.message
            notice.report(event.message, alarm=True)
        elif isinstance(event, AudioGap):
            notice.report(f"{event.lost * 1000:.0f} ms of audio were lost ({event.reason}).", alarm=True)
        else:
            self._view.add(event)
            self.meter.add(event, time.monotonic(), cut_short=message.delivery.cut_short)

    def _refresh_level(self) -> None:
        if len(self.screen_stack) != 1:
            return  # a dialog covers it
        self.updates += 1
        state = self.session.state
        model = self.config.model
        self._level.refresh_level(state)
        self._state.refresh_state(state, model.name.rpartition("/")[2], model.threads, self.transcript.words)
        self._notice.refresh_notice(state)

    def _refresh_latency(self) -> None:
        if len(self.screen_stack) == 1:
            self._latency.refresh_latency(self.session.state, self.meter)

    def _report(self, message: str, *, alarm: bool = False) -> None:
        self._notice.report(message, alarm=alarm)

    def action_pause(self) -> None:
        if self.session.state.phase == "paused":
            self.session.resume()
        else:
            self.session.pause()

    def action_mute(self) -> None:
        self.session.mute(not self.session.state.muted)

    def action_copy(self) -> None:
        text = self.screen.get_selected_text() or self._view.chosen_text() or self.transcript.text()
        self.copy_to_clipboard(text)
        self._report(f"Copied {len(text.split())} words.")

    def action_save(self) -> None:
        name = str(Path.cwd() / f"{self.writer.id}.txt")
        self.push_screen(
            AskScreen(f"Save as (the ending chooses: {', '.join(FORMATS)}); escape leaves", name), self._save
        )

    def _save(self, name: str | None) -> None:
        if not name:
            return
        try:
            self._report(save(self.transcript, Path(os.path.expanduser(name))))
        except DeviceAsrError as error:
            self._report(str(error), alarm=True)

    def action_new(self) -> None:
        self.session.cut(self._begin_session)

    def on_session_begun(self, message: SessionBegun) -> None:
        if message.writer is None:
            self._report(message.failure, alarm=True)
            return
        self.writer = message.writer
        self.transcript = Transcript(self.config.interface.paragraph_s)
        self._view.restart(self.transcript)
        self._report("A new session; the former one is in `device-asr history`.")

    def on_transcript_view_edit_wanted(self, message: TranscriptView.EditWanted) -> None:
        transcript, writer, index = self.transcript, self.writer, message.index

        def edited(text: str | None) -> None:
            if text is not None and text.strip() != transcript.lines[index].text:
                transcript.edit(index, text)
                self._keep(lambda: writer.edit(index, text.strip()))
                self._view.redraw()

        self.push_screen(
            AskScreen("Edit the line; enter keeps it, escape leaves it as it was", transcript.lines[index].text), edited
        )

    def action_device(self) -> None:
        self.run_worker(self._ask_for_device, thread=True, exclusive=True, group="device")

    def _ask_for_device(self) -> None:
        from device_asr.audio.devices import list_afresh

        try:
            devices = list_afresh()
        except DeviceAsrError as error:
            self.call_from_thread(self._report, str(error), alarm=True)
            return
        self.call_from_thread(self.push_screen, DeviceScreen(devices), self._device_chosen)

    def _device_chosen(self, index: str | None) -> None:
        if index is not None:
            self.run_worker(lambda: self._select(index), thread=True, group="device")

    def _select(self, index: str) -> None:
        try:
            self.session.select_device(index)
        except DeviceAsrError as error:
            self.call_from_thread(self._report, str(error), alarm=True)

    def action_theme(self) -> None:
        self.theme = THEMES["light" if self.theme == THEMES["dark"] else "dark"]

    def action_help(self) -> None:
        keys = [(self.config.interface.keys.get(b.id or "", b.key_display or b.key), b.tooltip) for b in KEYS if b.show]
        self.push_screen(HelpScreen(keys))

    async def action_quit(self) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._leaving:  # asked twice: at once
            self._at_once = True
            self.session.abort()
            self.exit()
            return
        self._leaving = True
        self._report("Finishing the utterance; again leaves at once.")
        self.run_worker(self._finish, thread=True)

    def _finish(self) -> None:
        self.session.stop()
        self.call_from_thread(self.exit)

    def close(self) -> None:
        """Ends the session and its file after `run`; finishes the utterance if nothing else did."""
        if not self._at_once:
            self.session.stop(FINISHING)
        self.session.abort()
        self.session.wait(2)
        self.writer = self._keeper
        self.writer.close()
