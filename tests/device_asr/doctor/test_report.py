"""The report for programs and for people."""

from __future__ import annotations

import json

from device_asr.doctor.check import NOT_KNOWN, OK, WARNING, Check
from device_asr.doctor.measure import Candidate
from device_asr.doctor.report import SCHEMA, Report, record
from device_asr.doctor.text import check_line, recommendation, table, verdict
from device_asr.doctor.trial import Trials
from tests.device_asr.doctor.test_trial import ran

CHECKS = [Check("clock", OK, "Fine.", {"governor": "ondemand"}), Check("disk", NOT_KNOWN, "Not known.")]
KEEPS_UP = Trials([ran(Candidate(2), 0.25)], ran(Candidate(2), 0.25), {"model.threads": "it is worth it"})
TOO_SLOW = Trials([ran(Candidate(1), 2.5), ran(Candidate(1, partials=False), 1.25)], None, {})


def test_the_schema_for_programs_is_stable() -> None:
    report = Report(CHECKS, KEEPS_UP, None, {"model.threads": 2})
    found = json.loads(json.dumps(record(report, "/c.toml", True)))
    assert SCHEMA == 1 and set(found) == {
        *("schema", "slowdown", "keeps_up", "failure", "checks", "measured", "recommended", "config"),
    }
    assert found["checks"]["clock"] == {"state": "ok", "says": "Fine.", "governor": "ondemand"}
    assert found["recommended"]["settings"] == Candidate(2).settings()
    assert found["recommended"]["changes"] == {"model.threads": 2}
    assert found["config"] == {"path": "/c.toml", "written": True}
    (measured,) = found["measured"]
    assert set(measured) == {
        *("settings", "keeps_up", "rtf", "audio_s", "whole", "load_s", "peak_memory_bytes", "max_lag_s"),
        *("partials_held_back", "utterances", "finals", "first_partial_s", "word_emission_s", "finalization_s"),
        "finalization_without_hangover_s",
    }
    assert measured["rtf"] == 0.25 and measured["finalization_s"] == {"p50": 0.8, "p95": 0.8, "n": 1}
    assert measured["first_partial_s"] == {"p50": None, "p95": None, "n": 0}


def test_a_machine_that_keeps_up_is_told_its_latencies_and_not_those_that_were_not_measured() -> None:
    said = verdict(Report(CHECKS, KEEPS_UP, None, {}))
    assert said.startswith("Live dictation will keep up: a second of speech takes 0.25 s, ")
    assert "the final text stands 0.8 s (p95 0.8 s) after the last word." in said and "text appears" not in said


def test_a_machine_that_is_too_slow_is_told_what_it_takes_and_what_may_be_used() -> None:
    report = Report(CHECKS, TOO_SLOW, None, {})
    assert not report.keeps_up and record(report, "c", False)["recommended"] is None
    assert "will not keep up" in verdict(report) and "takes 1.25 s at least, and 0.8 s may be used" in verdict(report)
    assert recommendation(report, 80) == ""


def test_a_failure_is_part_of_the_report() -> None:
    report = Report(CHECKS, None, "No model 'x'.", {})
    assert verdict(report).endswith("No model 'x'.") and record(report, "c", False)["measured"] == []


def test_what_is_foreseen_for_another_device_never_looks_measured() -> None:
    said = verdict(Report(CHECKS, KEEPS_UP, None, {}, slowdown=16))
    assert said.startswith("Expected on a machine 16 times as slow as this one, not measured there.")


def test_lines_fit_into_a_terminal_and_say_what_is_not_ok() -> None:
    check = Check("sound_server", WARNING, "No sound server answers, " * 5)
    lines = check_line(check, 79).splitlines()
    assert lines[0].startswith("sound server   [warning] No") and all(len(line) <= 79 for line in lines)
    assert check_line(CHECKS[0], 0) == "clock          Fine."
    report = Report(CHECKS, KEEPS_UP, None, {"model.threads": 2})
    assert all(len(line) <= 79 for line in table(KEEPS_UP.runs).splitlines())
    marked = [line for line in recommendation(report, 79).splitlines() if line.startswith("* ")]
    assert marked[0].startswith("* model.threads = 2 ") and "it is worth it" in marked[0]
