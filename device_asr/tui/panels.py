"""The read-outs around the transcript; each draws only when its text has changed."""

from __future__ import annotations

import multiprocessing
import time

import psutil
from textual.widgets import Static

from device_asr.latency import LatencyMeter
from device_asr.level import FLOOR_DB
from device_asr.live import LiveState
from device_asr.tui.readouts import behind_line, latency_rows, level_line, load_row, state_line

HOLD_S = 1.5  # a peak stays visible this long
CLIP_S = 3.0


class Readout(Static):
    """One or more lines of plain text."""

    def __init__(self, **kwargs: str) -> None:
        super().__init__("", markup=False, **kwargs)
        self.text = ""

    def show(self, text: str) -> None:
        """Draws `text` where it differs from what is there."""
        if text != self.text:
            self.text = text
            self.update(text)

    @property
    def columns(self) -> int:
        """Columns to fill."""
        return self.content_size.width or 78


class StateLine(Readout):
    """Device, rate, model, threads, elapsed, words, drops."""

    def refresh_state(self, state: LiveState, model: str, threads: int, words: int) -> None:
        self.show(state_line(state, model, threads, words, self.columns))


class LevelMeter(Readout):
    """Level with held peak, clip mark and speech indicator."""

    def __init__(self, **kwargs: str) -> None:
        super().__init__(**kwargs)
        self._hold, self._held_at, self._clipped_at = FLOOR_DB, 0.0, float("-inf")

    def refresh_level(self, state: LiveState) -> None:
        now = time.monotonic()
        if state.level.peak_db >= self._hold or now - self._held_at > HOLD_S:
            self._hold, self._held_at = state.level.peak_db, now
        if state.level.clipped:
            self._clipped_at = now
        self.show(level_line(state.level, self._hold, now - self._clipped_at < CLIP_S,
                             state.speech_probability, self.columns))


class LatencyPanel(Readout):
    """Latencies, then what the machine bears."""

    def __init__(self, **kwargs: str) -> None:
        super().__init__(**kwargs)
        self._processes: dict[int, psutil.Process] = {}
        self._cpu, self._memory = 0.0, 0

    def refresh_latency(self, state: LiveState, meter: LatencyMeter) -> None:
        """Once a second at most: reading another process costs a millisecond."""
        self._measure()
        load = load_row(state, meter, self._cpu, self._memory)
        self.show("\n".join([*latency_rows(meter, self.columns), load]))

    def _measure(self) -> None:
        pids = [psutil.Process().pid, *(p.pid for p in multiprocessing.active_children() if p.pid)]
        cpu, memory = 0.0, 0
        for pid in pids:
            try:
                process = self._processes.setdefault(pid, psutil.Process(pid))
                cpu += process.cpu_percent()
                memory += process.memory_info().rss
            except psutil.NoSuchProcess:
                self._processes.pop(pid, None)
        self._cpu, self._memory = cpu, memory


class NoticeLine(Readout):
    """What happened last; being behind goes before it, an alarm before that."""

    def __init__(self, **kwargs: str) -> None:
        super().__init__(**kwargs)
        self._message, self.alarm = "", False

    def tell(self, message: str, *, alarm: bool = False) -> None:
        """Keeps `message` until the next one."""
        self._message, self.alarm = message, alarm

    def refresh_notice(self, state: LiveState) -> None:
        behind = behind_line(state)
        self.set_class(bool(behind) or self.alarm, "-alarm")
        self.show(f"! {behind}" if behind and not self.alarm else self._message)
