"""The report of an examination, as JSON for programs. `record` describes its schema.

Latencies are in seconds, defined in `device_asr.metrics.latency`, and of the simulated live clock
(`device_asr.doctor.measure`). None (null) stands for what is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from device_asr.doctor.check import Check
from device_asr.doctor.measure import Run
from device_asr.doctor.trial import Trials
from device_asr.metrics.latency import Series

SCHEMA = 1  # raised when a key goes or changes its meaning; a new key does not raise it


@dataclass(frozen=True)
class Report:
    """All that was found.

    trials: None: nothing could be measured, and `failure` says why.
    changes: key of a recommended setting -> value, for those that differ from the settings in force.
    slowdown: computation was counted this many times as long, to foresee a slower device; 1: this machine itself.
    """

    checks: Sequence[Check]
    trials: Trials | None
    failure: str | None
    changes: dict[str, int | str | bool]
    slowdown: float = 1.0

    @property
    def recommended(self) -> Run | None:
        """The run with the recommended settings; None: none keeps up, or nothing was measured."""
        return self.trials.recommended if self.trials else None

    @property
    def keeps_up(self) -> bool:
        """Whether live dictation will keep up with the recommended settings."""
        return self.recommended is not None


def record(report: Report, config_file: str, written: bool) -> dict[str, Any]:
    """The report ready for JSON.

    schema: 1. keeps_up: whether live dictation will keep up with the recommended settings (the exit code is 0).
    failure: why nothing could be measured, or null.
    checks: name -> {state: "ok", "warning" or "not known", says: a sentence, and the check's own figures}.
    measured: one object a candidate, see `run_record`. recommended: null, or {settings, reasons, changes}.
    config: {path, written}. slowdown: see `Report`.
    """
    chosen, trials = report.recommended, report.trials
    return {
        "schema": SCHEMA,
        "slowdown": report.slowdown,
        "keeps_up": report.keeps_up,
        "failure": report.failure,
        "checks": {check.name: check.record() for check in report.checks},
        "measured": [run_record(run) for run in trials.runs] if trials else [],
        "recommended": {
            "settings": chosen.candidate.settings(),
            "reasons": trials.reasons,
            "changes": report.changes,
        }
        if chosen and trials
        else None,
        "config": {"path": config_file, "written": written},
    }


def run_record(run: Run) -> dict[str, Any]:
    """One candidate ready for JSON; `whole`: all of the minute was computed."""
    rtf = run.rtf()
    return {
        "settings": run.candidate.settings(),
        "keeps_up": run.keeps_up,
        "rtf": None if rtf is None else round(rtf, 4),
        "audio_s": round(run.audio, 2),
        "whole": run.whole,
        "load_s": round(run.load, 2),
        "peak_memory_bytes": run.memory,
        "max_lag_s": round(run.lag, 3),
        "partials_held_back": round(run.held_back, 3),
        "utterances": run.meter.utterances,
        "finals": run.meter.finals,
        "first_partial_s": _series(run.meter.first_partial),
        "word_emission_s": _series(run.meter.word_emission),
        "finalization_s": _series(run.meter.finalization),
        "finalization_without_hangover_s": _series(run.meter.finalization_no_hangover),
    }


def _series(series: Series) -> dict[str, float | int | None]:
    p50, p95 = series.p50, series.p95
    return {
        "p50": None if p50 is None else round(p50, 3),
        "p95": None if p95 is None else round(p95, 3),
        "n": series.count,
    }
