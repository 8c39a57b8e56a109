"""One HTML file, with nothing outside of it: what was tried, what each stage cost and bought, and the card.

Inputs, each of which may be missing (the report then says so and how to make it):
    ledger.jsonl      rows of `compress.search.search.ledger`, from a search or a table of techniques
    sensitivity.json  a list of {"layer", "saved"}: WER saved (a fraction) by that layer alone in fp32
    stages.json       a list of {"name"} with any of parameters, bytes, wer, rtf, finalization (seconds), seconds
    metrics.jsonl     of `compress.distill.trainer` runs, one file a run
    CARD.md           of a bundle
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.recipe import card
from compress.report import figures
from compress.search import ledger
from compress.search.device_profile import DeviceProfile
from compress.search.ledger import Row
from compress.search.search import LEDGER, Outcome, outcome
from device_asr.errors import DeviceAsrError, OutputError
from device_asr.files import write_whole

SENSITIVITY, STAGES, METRICS = "sensitivity.json", "stages.json", "metrics.jsonl"
NOT_MEASURED = "Not measured yet."
CSS = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;font-size:.85rem;display:block;overflow-x:auto}
td,th{padding:.2rem .6rem;border-bottom:1px solid #ccc;text-align:right}
td:first-child,th:first-child{text-align:left}img{max-width:100%}pre{white-space:pre-wrap;font-size:.8rem}
.missing{color:#777}.best{background:#e8f4e8}"""


class ReportError(DeviceAsrError):
    """An input of the report is broken."""


@dataclass(frozen=True)
class Material:
    """What a report shows; None or empty: not there. curves: run -> (step, loss) in order."""

    rows: Sequence[Row] = ()
    device: DeviceProfile | None = None
    sensitivity: Sequence[Mapping[str, Any]] = ()
    stages: Sequence[Mapping[str, Any]] = ()
    curves: Mapping[str, Sequence[tuple[int, float]]] | None = None
    card: str = ""


def gather(work: Path, device: DeviceProfile | None, bundle: Path | None) -> Material:
    """Everything of a work folder, metrics of runs in any folder under it too.

    Raises:
        ReportError, LedgerError: a file that is there cannot be read; its line is named.
    """
    if not work.is_dir():
        raise ReportError(f"{work}: wanted the --work folder of a search or build, found no folder.")
    rows = ledger.read(work / LEDGER) if (work / LEDGER).is_file() else []
    curves = {
        str(path.parent.relative_to(work)): curve for path in sorted(work.rglob(METRICS)) if (curve := read_curve(path))
    }
    text = ""
    if bundle is not None:
        try:
            text = (bundle / "CARD.md").read_text(encoding="utf-8")
        except OSError as error:
            raise ReportError(
                f"{bundle / 'CARD.md'} cannot be read ({error.strerror}); wanted a bundle's folder."
            ) from None
    return Material(
        rows,
        device,
        _read_list(work / SENSITIVITY, ("layer", "saved")),
        _read_list(work / STAGES, ("name",)),
        curves,
        text,
    )


def _read_list(path: Path, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        if not all(key in row for row in rows for key in keys):
            raise ValueError("a key is missing")
    except (OSError, ValueError, TypeError) as error:
        raise ReportError(f"{path}: wanted a list of objects with {', '.join(keys)} ({error}).") from None
    return rows


def read_curve(path: Path) -> list[tuple[int, float]]:
    """(step, loss) of a metrics.jsonl; verdicts, steps without a loss and a line cut short are left out."""
    points = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("loss"), int | float):
            points.append((int(entry["step"]), float(entry["loss"])))
    return points


def page(material: Material) -> str:
    """The report as HTML."""
    found = outcome(list(material.rows), material.device) if material.device and material.rows else None
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>device-asr-compress report</title>"
        f"<style>{CSS}</style><h1>What each megabyte costs in words</h1>"
    ]
    if found is not None:
        parts.append(
            f"<p><strong>{html.escape(found.sentence)}</strong></p><p>Times are this machine's times "
            f"{found.device.speed_factor:g}: {html.escape(found.device.source)}</p>"
        )
    parts += [
        _pareto(material),
        _trials(material, found),
        _stages(material),
        _sensitivity(material),
        _curves(material),
        _card(material),
    ]
    return "\n".join(parts) + "\n"


def _section(title: str, body: str, missing: str) -> str:
    return f"<h2>{title}</h2>" + (body or f"<p class=missing>{missing}</p>")


def _image(svg: str, alt: str) -> str:
    return f'<img alt="{alt}" src="data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}">'


def _pareto(material: Material) -> str:
    shown = any(row.state == "complete" and row.wer is not None for row in material.rows)
    body = (
        _image(figures.pareto(material.rows, material.device), "size, WER and finalization of every trial")
        if shown
        else ""
    )
    return _section("Size, WER, latency", body, "No trial was measured yet: device-asr-compress search.")


def _trials(material: Material, found: Outcome | None) -> str:
    if not material.rows:
        return _section("Trials", "", "No ledger: device-asr-compress search writes one.")
    worked = [row for row in material.rows if row.worked]
    settings = sorted({key for row in worked for key in row.recipe})
    head = ["trial", *settings, "M parameters", "MB", "WER %", "RTF", "finalization ms", "s spent", "state"]
    best = found.best.trial if found and found.best else None
    body = [
        (
            _cells(
                [
                    str(row.trial),
                    *(str(row.recipe.get(key, "-")) for key in settings),
                    *_figures(figures_of(row), material.device),
                    f"{row.state}: {row.reason}" if row.reason else row.state,
                ]
            ),
            row.trial == best,
        )
        for row in worked
    ]
    rows = "".join(f"<tr{' class=best' if is_best else ''}>{cells}</tr>" for cells, is_best in body)
    aside = len(material.rows) - len(worked)
    note = f"<p>{aside} more were set aside by their estimated size or as repetitions.</p>" if aside else ""
    return _section("Trials", f"<table><tr>{_cells(head, 'th')}</tr>{rows}</table>{note}", "")


def _stages(material: Material) -> str:
    head = ["stage", "M parameters", "MB", "WER %", "RTF", "finalization ms", "s spent", "MB saved", "WER points"]
    rows, before = [], None
    for stage in material.stages:
        rows.append(
            f"<tr>{_cells([str(stage['name']), *_figures(stage, material.device), *_bought(before, stage)])}</tr>"
        )
        before = stage
    body = f"<table><tr>{_cells(head, 'th')}</tr>{''.join(rows)}</table>" if rows else ""
    return _section("What each stage cost and bought", body, f"No {STAGES} in the work folder.")


def _bought(before: Mapping[str, Any] | None, stage: Mapping[str, Any]) -> list[str]:
    """Bytes saved and WER paid against the stage before."""

    def both(key: str) -> bool:
        return before is not None and before.get(key) is not None and stage.get(key) is not None

    return [
        f"{(before['bytes'] - stage['bytes']) / 1e6:.1f}" if both("bytes") else "-",
        f"{100 * (stage['wer'] - before['wer']):+.1f}" if both("wer") else "-",
    ]


def _sensitivity(material: Material) -> str:
    body = _image(figures.sensitivity(material.sensitivity), "WER saved by layer") if material.sensitivity else ""
    return _section("Sensitivity by layer", body, f"No {SENSITIVITY} in the work folder.")


def _curves(material: Material) -> str:
    body = _image(figures.losses(material.curves), "loss by step") if material.curves else ""
    return _section("Training", body, f"No {METRICS} of a training run under the work folder.")


def _card(material: Material) -> str:
    body = f"<pre>{html.escape(material.card)}</pre>" if material.card else ""
    return _section("Card", body, "No bundle was given: --bundle FOLDER.")


def figures_of(row: Row) -> dict[str, Any]:
    """A row's figures by the names that stages use too."""
    return {key: getattr(row, key) for key in ("parameters", "bytes", "wer", "rtf", "finalization", "seconds")}


def _figures(values: Mapping[str, Any], device: DeviceProfile | None) -> list[str]:
    factor = device.speed_factor if device else 1.0

    def show(key: str, scale: float, form: str) -> str:
        value = values.get(key)
        return "-" if value is None else format(value * scale, form)

    return [
        show("parameters", 1e-6, ".1f"),
        show("bytes", 1e-6, ".1f"),
        show("wer", 100, ".1f"),
        show("rtf", factor, ".3f"),
        show("finalization", 1000 * factor, ".0f"),
        show("seconds", 1, ".0f"),
    ]


def _cells(values: Sequence[str], tag: str = "td") -> str:
    return "".join(f"<{tag}>{html.escape(value)}</{tag}>" for value in values)


def write(material: Material, out: Path) -> None:
    """Writes the page; the file appears when it is whole.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        write_whole(out, page(material))
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}; choose another --out.") from None


def measured_card(row: Row, device: DeviceProfile, manifest: str, command: str) -> None:
    """Puts a trial's figures into the card of its bundle, where nothing was measured yet; else leaves it.

    Args:
        manifest: what it was measured on, for a person. command: what made the figures.
    """
    folder = Path(row.bundle)
    path = folder / "CARD.md"
    text = path.read_text(encoding="utf-8")
    if NOT_MEASURED not in text:
        return
    found = _figures(figures_of(row), None)
    names = [
        "parameters (M)",
        "bundle (MB)",
        "WER (%)",
        "RTF, all computation",
        "finalization, p95, without the hang-over (ms)",
        "seconds spent on the trial",
    ]
    lines = [
        card.MEASURED,
        f"On {manifest}, streaming path, {device.threads} threads of this machine; `{command}`. "
        f"{device.name} is taken to need {device.speed_factor:g} times as long.",
        "",
    ]
    lines += [f"* {name}: {value}" for name, value in zip(names, found, strict=True)]
    contents = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    card.write_card(path, contents, "\n".join(lines) + "\n")
