"""The report as one HTML file, with nothing outside of it: trials, stages, sensitivity, training, the card."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from compress.evaluate.measurement import Measurement, cells
from compress.recipe.cache import STAGES
from compress.report import figures
from compress.report.inputs import METRICS, Inputs
from compress.report.sensitivity_table import SENSITIVITY
from compress.search.outcome import Outcome, outcome
from device_asr.errors import OutputError
from device_asr.files import write_whole

CSS = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;font-size:.85rem;display:block;overflow-x:auto}
td,th{padding:.2rem .6rem;border-bottom:1px solid #ccc;text-align:right}
td:first-child,th:first-child{text-align:left}img{max-width:100%}pre{white-space:pre-wrap;font-size:.8rem}
.missing{color:#777}.best{background:#e8f4e8}"""
FIGURES = ("M parameters", "MB", "WER %", "RTF", "finalization ms", "s spent")  # what `cells` tells


def page(inputs: Inputs) -> str:
    """The report as HTML."""
    found = outcome(inputs.trials, inputs.device) if inputs.device and inputs.trials else None
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>device-asr-compress report</title>"
        f"<style>{CSS}</style><h1>What each megabyte costs in words</h1>"
    ]
    if found is not None:
        parts.append(
            f"<p><strong>{html.escape(found.sentence)}</strong></p><p>Times are this machine's times "
            f"{found.device.factor}: {html.escape(found.device.source)}</p>"
        )
    parts += [
        _pareto(inputs),
        _trials(inputs, found),
        _stages(inputs),
        _sensitivity(inputs),
        _curves(inputs),
        _card(inputs),
    ]
    return "\n".join(parts) + "\n"


def write(inputs: Inputs, out: Path) -> None:
    """Writes the page; the file appears when it is whole.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        write_whole(out, page(inputs))
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}; choose another --out.") from None


# -- sections ----------------------------------------------------------------------------------------


def _section(title: str, body: str, missing: str) -> str:
    return f"<h2>{title}</h2>" + (body or f"<p class=missing>{missing}</p>")


def _pareto(inputs: Inputs) -> str:
    body = ""
    if any(row.state == "complete" and row.wer is not None for row in inputs.trials):
        body = _image(figures.pareto(inputs.trials, inputs.device), "size, WER and finalization of every trial")
    return _section("Size, WER, latency", body, "No trial was measured yet: device-asr-compress search.")


def _trials(inputs: Inputs, found: Outcome | None) -> str:
    if not inputs.trials:
        return _section("Trials", "", "No ledger: device-asr-compress search writes one.")
    worked = [row for row in inputs.trials if row.worked]
    settings = sorted({name for row in worked for name in row.settings})
    lines = [_line(["trial", *settings, *FIGURES, "state"], "th")]
    for row in worked:
        values = [str(row.settings.get(name, "-")) for name in settings]
        state = f"{row.state}: {row.reason}" if row.reason else row.state
        best = found is not None and row == found.best
        lines.append(_line([row.name, *values, *cells(row, _factor(inputs)), state], best=best))
    aside = len(inputs.trials) - len(worked)
    note = f"<p>{aside} more were set aside by their estimated size or as repetitions.</p>" if aside else ""
    return _section("Trials", f"<table>{''.join(lines)}</table>{note}", "")


def _stages(inputs: Inputs) -> str:
    lines, before = [_line(["stage", *FIGURES, "MB saved", "WER points"], "th")], None
    for row in inputs.stages:
        lines.append(_line([row.name, *cells(row, _factor(inputs)), *_bought(before, row)]))
        before = row
    body = f"<table>{''.join(lines)}</table>" if inputs.stages else ""
    return _section("What each stage cost and bought", body, f"No {STAGES} in the work folder.")


def _bought(before: Measurement | None, row: Measurement) -> list[str]:
    """Bytes saved and WER paid against the stage before."""
    saved = paid = "-"
    if before is not None:
        if before.bytes is not None and row.bytes is not None:
            saved = f"{(before.bytes - row.bytes) / 1e6:.1f}"
        if before.wer is not None and row.wer is not None:
            paid = f"{100 * (row.wer - before.wer):+.1f}"
    return [saved, paid]


def _sensitivity(inputs: Inputs) -> str:
    body = _image(figures.sensitivity(inputs.sensitivity), "WER saved by layer") if inputs.sensitivity else ""
    return _section("Sensitivity by layer", body, f"No {SENSITIVITY} in the work folder.")


def _curves(inputs: Inputs) -> str:
    body = _image(figures.losses(inputs.curves), "loss by step") if inputs.curves else ""
    return _section("Training", body, f"No {METRICS} of a training run under the work folder.")


def _card(inputs: Inputs) -> str:
    body = f"<pre>{html.escape(inputs.card)}</pre>" if inputs.card else ""
    return _section("Card", body, "No bundle was given: --bundle FOLDER.")


# -- parts -------------------------------------------------------------------------------------------


def _factor(inputs: Inputs) -> float:
    return inputs.device.speed_factor if inputs.device else 1.0


def _image(svg: str, alt: str) -> str:
    return f'<img alt="{alt}" src="data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}">'


def _line(values: Sequence[str], tag: str = "td", best: bool = False) -> str:
    inner = "".join(f"<{tag}>{html.escape(value)}</{tag}>" for value in values)
    return f"<tr{' class=best' if best else ''}>{inner}</tr>"
