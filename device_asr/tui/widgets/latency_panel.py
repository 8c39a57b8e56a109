"""Latencies, and the load of the machine."""

from __future__ import annotations

import multiprocessing

import psutil

from device_asr.dictation.state import LiveState
from device_asr.metrics.latency import LatencyMeter
from device_asr.tui.readouts import explained, latency_rows, load_parts
from device_asr.tui.widgets.readout import Readout

ROOMY = 30  # lines from which on each figure has its meaning below it


class LatencyPanel(Readout):
    """Latencies, then the load of the machine; with the meaning of each figure where there is room."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._processes: dict[int, psutil.Process] = {}
        self._cpu, self._memory = 0.0, 0
        self._latest: tuple[LiveState, LatencyMeter] | None = None

    def on_resize(self) -> None:
        """Shows the figures again, as more or fewer meanings may fit."""
        if self._latest is not None:
            self._show(*self._latest)

    def refresh_latency(self, state: LiveState, meter: LatencyMeter) -> None:
        """Shows new figures; call it once a second at most, as reading another process costs a millisecond."""
        self._measure()
        self._latest = state, meter
        self._show(state, meter)

    def _show(self, state: LiveState, meter: LatencyMeter) -> None:
        rows = latency_rows(meter, self.columns)
        load = load_parts(state, meter, self._cpu, self._memory)
        if self.content_size.height >= ROOMY:
            self.show(explained(rows, load, self.columns))
        else:
            self.show("\n".join([*rows, "  ".join(load)]))

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
