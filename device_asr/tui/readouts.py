"""Read-outs as plain text: pure functions of a state, so that they need no color."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from textwrap import wrap

from textual.content import Content

from device_asr.audio.level import Level
from device_asr.dictation.state import LiveState
from device_asr.metrics.latency import LatencyMeter, Series, rtf

BARS = "▁▂▃▄▅▆▇█"
METER_FLOOR_DB = -60.0
SPEAKING = 0.5

EXPLANATIONS = {
    "first partial": "From the beginning of an utterance to its first text on the screen.",
    "word emission": "From the end of a word in the audio until that word no longer changes.",
    "finalization": "From the end of the last word to the final text, with the pause that ends an utterance.",
    "  without pause": "Finalization from the end of that pause on: computation and waiting alone.",
    "last, p50, p95": "The latest value, the median, and the value that 19 of 20 stay below, in seconds of wall clock.",
    "RTF": "Real-time factor: seconds of computation for a second of audio; above 1 it cannot keep up.",
    "queue": "Pieces of 32 ms of audio that wait to be recognized; beyond 1.5 s: behind by N s.",
    "CPU": "Of this program and its recognizer, in per cent of one core.",
    "memory": "Resident memory of both.",
    "flicker": "Words shown and later changed, in per cent of all final words.",
    "drops": "Times that captured audio was lost because it was not fetched in time, and how many seconds.",
    "speech": "The voice activity detector's probability that someone speaks now.",
    "step": "How a slow machine saves work: 1 longer between partials, 2 finals only; 0 again when it recovers.",
}


def duration(seconds: float) -> str:
    """m:ss, or h:mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def state_line(state: LiveState, model: str, threads: int, words: int, width: int) -> str:
    """Phase, device, rate, model, threads, elapsed, words, drops; a long device name gives way."""
    phase = "muted" if state.muted and state.phase == "listening" else state.phase
    rest = (
        f"  {state.rate / 1000:g} kHz  {model} {threads} thr  {duration(state.elapsed)}  {words} words  "
        f"drops {state.overflows}" + (f" ({state.lost:.1f} s)" if state.lost else "")
    )
    head = f"{'●' if phase == 'listening' else '○'} {phase:<9} "
    room = max(6, width - len(head) - len(rest))
    # a file is known by its name, not by its folder; a microphone may have a slash in its name
    name = os.path.basename(state.device) if os.path.isabs(state.device) else state.device
    name = name if len(name) <= room else "…" + name[1 - room :]
    return head + name + rest


def level_line(level: Level, hold_db: float, clipped: bool, probability: float, width: int) -> str:
    """A bar from -60 to 0 dBFS with the held peak as `|`, the numbers, CLIP, and the speech indicator."""
    cells = max(8, width - 50)

    def cell(db: float) -> int:
        return round(cells * max(0.0, 1 - db / METER_FLOOR_DB))

    bar = list("█" * cell(level.rms_db) + "░" * (cells - cell(level.rms_db)))
    if cell(hold_db):
        bar[cell(hold_db) - 1] = "|"
    speech = "● speech" if probability >= SPEAKING else "○ silent"
    return (
        f"{level.rms_db:4.0f} dB {''.join(bar)} peak {hold_db:4.0f} {'CLIP' if clipped else '    '}  "
        f"{speech} {probability:4.2f}"
    )


def sparkline(values: Iterable[float], width: int) -> str:
    """The latest `width` values, from 0 to the largest of them."""
    latest = list(values)[-width:]
    top = max(latest, default=0.0)
    return "".join(BARS[min(7, int(8 * max(0.0, v) / top))] if top > 0 else BARS[0] for v in latest)


def series_row(name: str, series: Series, width: int) -> str:
    """Name, last, p50, p95 and a sparkline."""
    numbers = "".join(f"{'-' if v is None else f'{v:.2f}':>7}" for v in (series.last, series.p50, series.p95))
    return f"{name:<16}{numbers}  {sparkline(series.values, max(4, width - 39))}"


def latency_rows(meter: LatencyMeter, width: int) -> list[str]:
    """The table of latencies."""
    return [
        f"{'seconds':<16}{'last':>7}{'p50':>7}{'p95':>7}",
        series_row("first partial", meter.first_partial, width),
        series_row("word emission", meter.word_emission, width),
        series_row("finalization", meter.finalization, width),
        series_row("  without pause", meter.finalization_no_hangover, width),
    ]


def load_parts(state: LiveState, meter: LatencyMeter, cpu: float, memory: int) -> list[str]:
    """RTF, queue, CPU, memory, flicker; each begins with its name in `EXPLANATIONS`."""
    factor = rtf(state.compute, state.elapsed)
    flicker = meter.flicker
    return [
        f"RTF {'-' if factor is None else f'{factor:.2f}'}",
        f"queue {state.queue}",
        f"CPU {cpu:.0f} %",
        f"memory {memory / 1e6:.0f} MB",
        f"flicker {'-' if flicker is None else f'{100 * flicker:.0f} %'}",
    ]


def explained(rows: Sequence[str], parts: Sequence[str], width: int) -> Content:
    """The table and the load one below the other, each with its meaning in dim text."""
    head, *series = rows
    lines: list[Content] = [Content.styled(head, "bold")]
    for row in (*series, *parts):
        meaning = next((text for name, text in EXPLANATIONS.items() if row.startswith(name)), "")
        lines += [
            Content(row),
            *(Content.styled(f"    {line}", "dim") for line in wrap(meaning, width - 4)),
            Content(""),
        ]
    return Content("\n").join(lines)


def behind_line(state: LiveState) -> str:
    """How far behind the recognizer is, and the step in force; empty: neither applies."""
    parts = [f"behind by {state.behind:.1f} s"] if state.behind else []
    if state.step:
        interval = state.partial_interval
        now = "finals only" if interval is None else f"partial text every {interval:.1f} s"
        parts.append(f"step {state.step}: {now}")
    return "  ".join(parts)
