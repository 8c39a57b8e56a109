"""The report as text for a person."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from device_asr.doctor.check import Check
from device_asr.doctor.measure import MOST_RTF, Run
from device_asr.doctor.report import Report
from device_asr.doctor.speech import MINUTE
from device_asr.metrics.latency import Series

LABEL = 14  # columns


def check_line(check: Check, width: int) -> str:
    """One check; its state is written out where it is not ok."""
    state = "" if check.state == "ok" else f"[{check.state}] "
    return _labeled(check.name.replace("_", " "), state + check.says, width)


def table(runs: Sequence[Run]) -> str:
    """What each candidate took: latencies are p50/p95 in seconds."""
    rows = [["threads", "partials", "finals", "speech", "RTF", "first text", "settled", "final", "lag"]]
    for run in runs:
        chosen, rtf = run.candidate, run.rtf()
        rows.append(
            [
                str(chosen.threads),
                f"{chosen.interval_ms} ms" if chosen.partials else "none",
                chosen.final,
                f"{run.audio:.0f}",
                "-" if rtf is None else f"{rtf:.2f}",
                _series(run.meter.first_partial),
                _series(run.meter.word_emission),
                _series(run.meter.finalization),
                f"{run.lag:.1f}",
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def verdict(report: Report) -> str:
    """Whether live dictation will keep up, and with which latency."""
    if report.slowdown != 1:
        head = f"Expected on a machine {report.slowdown:g} times as slow as this one, not measured there. "
        return head + _verdict(report)
    return _verdict(report)


def _verdict(report: Report) -> str:
    if report.failure:
        return f"Nothing could be measured, so live dictation will not work: {report.failure}"
    run = report.recommended
    if run is None:
        least = min((run.rtf() or float("inf") for run in report.trials.runs), default=0.0) if report.trials else 0.0
        return (
            f"Live dictation will not keep up on this machine: a second of speech takes {least:.2f} s at least, and "
            f"{MOST_RTF} s may be used. Files can be transcribed. A smaller model may keep up."
        )
    said = [f"a second of speech takes {run.rtf() or 0:.2f} s"]
    for series, words in (
        (run.meter.first_partial, "text appears {} after an utterance begins"),
        (run.meter.word_emission, "a word is settled after {}"),
        (run.meter.finalization, "the final text stands {} after the last word"),
    ):
        if series.p50 is not None and series.p95 is not None:
            said.append(words.format(f"{series.p50:.1f} s (p95 {series.p95:.1f} s)"))
    return f"Live dictation will keep up: {', '.join(said)}."


def recommendation(report: Report, width: int) -> str:
    """The recommended settings with the reasons, those that differ from the present ones marked."""
    run, trials = report.recommended, report.trials
    if run is None or trials is None:
        return ""
    lines = []
    for key, value in run.candidate.settings().items():
        mark = "*" if key in report.changes else " "
        written = str(value).lower() if isinstance(value, bool) else str(value)
        lines.append(_labeled(f"{mark} {key} = {written}", trials.reasons.get(key, ""), width, 30))
    note = "* differs from the settings in force" if report.changes else "These settings are in force already."
    return "\n".join(["Recommended settings:", *lines, note])


def wrapped(text: str, width: int) -> str:
    """`text` in lines of at most `width` columns; 0: in one line."""
    return textwrap.fill(text, width, break_on_hyphens=False) if width else text


def explanation() -> str:
    """What the columns of the table are."""
    return (
        f"Measured on up to {MINUTE:.0f} s of shipped speech, in seconds, p50/p95. RTF: computation / speech. Settled: "
        "when a word no longer changes, after it was spoken. Lag: the most that the computation was behind."
    )


def _labeled(label: str, text: str, width: int, column: int = LABEL) -> str:
    head = f"{label:<{column}} "
    if not width:
        return (head + text).rstrip()
    return (
        textwrap.fill(text, width, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False)
        or head.rstrip()
    )


def _series(series: Series) -> str:
    return "-" if series.p50 is None or series.p95 is None else f"{series.p50:.2f}/{series.p95:.2f}"
