"""The terminal interface over a `LiveSession`: it shows and keeps the text, and never touches the model."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from functools import partial
from multiprocessing import resource_tracker
from pathlib import Path
from typing import ClassVar

from textual.app import App, ComposeResult, SystemCommand
from textual.binding import BindingType
from textual.containers import Container
from textual.screen import Screen
from textual.widgets import Footer

from device_asr.audio.live_source import LiveSource
from device_asr.config import Config
from device_asr.dictation.keeper import Keeper, amount
from device_asr.dictation.session import LiveSession, RecognizerFactory
from device_asr.dictation.state import Delivery, Notice
from device_asr.dictation.transcript import Transcript, save
from device_asr.errors import DeviceAsrError
from device_asr.events import AudioGap, Failed
from device_asr.metrics.latency import LatencyMeter
from device_asr.tui.keys import KEYS, keymap
from device_asr.tui.messages import Delivered, NotKept, SessionBegun
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
NO_DEVICE = ("device_lost", "device_waiting")
ANSWERS = ("paused", "resumed", "muted", "unmuted")  # to keys


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
        self._keeper = Keeper(config, self._not_kept)
        self.writer = self._keeper.writer  # of the transcript on the screen
        self.session = LiveSession(source, make_recognizer, config, self._delivered, on_audio=self._keeper.audio)
        self.meter = LatencyMeter(self.session.wall_time)
        self.transcript = Transcript(config.interface.paragraph_s)
        self._leaving = self._at_once = False
        self.updates = 0  # times that the level and the state were brought up to date
        # kept rather than looked up: events still come while the screen is being taken down
        self._state, self._level = StateLine(id="state"), LevelMeter(id="level")
        self._latency, self._notice = LatencyPanel(id="latency"), NoticeLine(id="notice")
        self._view = TranscriptView(self.transcript, id="transcript")
        self.theme = THEMES[config.interface.theme]
        self.set_keymap(keys)

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
        self._keeper.take(delivery)
        self.post_message(Delivered(delivery))

    def _not_kept(self, sentence: str) -> None:
        self._failed(sentence)  # here, as nobody takes the message any more once the screen is taken down
        self.post_message(NotKept(sentence))

    def _begin_session(self) -> None:
        """Begins a new session at a cut, where the utterance so far belongs to the former one."""
        try:
            self.post_message(SessionBegun(self._keeper.begin()))
        except DeviceAsrError as error:
            self.post_message(SessionBegun(None, str(error)))

    # --- on the interface's thread ---------------------------------------------------------------

    def on_delivered(self, message: Delivered) -> None:
        event = message.delivery.event
        notice = self._notice
        if isinstance(event, Notice):
            if event.kind in NO_DEVICE:
                notice.hold("device", event.message)
            elif event.kind in ANSWERS:
                notice.answer(event.message)
            else:
                if event.kind == "device_opened":
                    notice.hold("device", None)
                notice.tell(event.message)
        elif isinstance(event, Failed):
            self._failed(event.message)
            notice.hold("failure", event.message)
        elif isinstance(event, AudioGap):
            notice.hold("gap", f"{event.lost * 1000:.0f} ms of audio were lost ({event.reason}).")
        else:
            self._view.add(event)
            self.meter.add(event, time.monotonic(), cut_short=message.delivery.cut_short)

    def on_not_kept(self, message: NotKept) -> None:
        self._notice.hold("recording", message.sentence)

    def _failed(self, sentence: str) -> None:
        self.failure = f"{self.failure} {sentence}" if self.failure else sentence

    def _refresh_level(self) -> None:
        if len(self.screen_stack) != 1:
            return  # a dialog covers it
        self.updates += 1
        state = self.session.state
        model = self.config.model
        self._level.refresh_level(state)
        self._state.refresh_state(state, model.name.rpartition("/")[2], model.threads, self.transcript.words)
        why = self._keeper.trouble
        self._notice.hold("disk", why and f"Not kept yet: {amount(self._keeper.unkept)}, {why}; free some of the disk.")
        self._notice.refresh_notice(state)

    def _refresh_latency(self) -> None:
        if len(self.screen_stack) == 1:
            self._latency.refresh_latency(self.session.state, self.meter)

    def _refuse(self, error: DeviceAsrError) -> None:
        self._notice.hold("refused", str(error))

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
        self._notice.answer(f"Copied {len(text.split())} words.")

    def action_save(self) -> None:
        name = str(Path.cwd() / f"{self.writer.id}.txt")
        self.push_screen(
            AskScreen(f"Save as (the ending chooses: {', '.join(FORMATS)}); escape leaves", name), self._save
        )

    def _save(self, name: str | None) -> None:
        if not name:
            return
        try:
            path = Path(os.path.expanduser(name))
            self._notice.answer(save(self.transcript, path, private=self.config.session.private))
        except DeviceAsrError as error:
            self._refuse(error)

    def action_new(self) -> None:
        self.session.cut(self._begin_session)

    def on_session_begun(self, message: SessionBegun) -> None:
        if message.writer is None:
            self._notice.hold("refused", message.failure)
            return
        self.writer = message.writer
        self.transcript = Transcript(self.config.interface.paragraph_s)
        self._view.restart(self.transcript)
        self._notice.hold("recording", None)
        self._notice.answer("A new session; the former one is in `device-asr history`.")

    def on_transcript_view_edit_wanted(self, message: TranscriptView.EditWanted) -> None:
        transcript, writer, index = self.transcript, self.writer, message.index

        def edited(text: str | None) -> None:
            if text is not None and text.strip() != transcript.lines[index].text:
                transcript.edit(index, text)
                self._view.redraw()
                try:
                    writer.edit(index, text.strip())
                except DeviceAsrError as error:
                    self._refuse(error)

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
            self.call_from_thread(self._refuse, error)
            return
        self.call_from_thread(self.push_screen, DeviceScreen(devices), self._device_chosen)

    def _device_chosen(self, index: str | None) -> None:
        if index is not None:
            self.run_worker(lambda: self._select(index), thread=True, group="device")

    def _select(self, index: str) -> None:
        try:
            self.session.select_device(index)
        except DeviceAsrError as error:
            self.call_from_thread(self._refuse, error)

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
        self._notice.answer("Finishing the utterance; again leaves at once.")
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
        self._keeper.close()
        self.writer = self._keeper.writer

    @property
    def unkept(self) -> list[str]:
        """The texts that the disk refuses so far; after `close` for good."""
        return self._keeper.unkept

    @property
    def trouble(self) -> str | None:
        """Why the disk refuses text; None: it does not."""
        return self._keeper.trouble
