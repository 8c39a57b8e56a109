"""A measured model as one row, and files of such rows: one JSON object a line.

Stages of a build, trials of a search, ablations, chunk sizes and layers with more bits are all rows of this kind.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from compress.tables import figure, write
from device_asr.errors import DeviceAsrError
from device_asr.events import Seconds

State = Literal["complete", "cut", "failed"]


class MeasurementError(DeviceAsrError):
    """A file of measurements cannot be read."""


@dataclass(frozen=True)
class Measurement:
    """One model, or one way to use it, and its figures as measured on this machine; None: not measured.

    Which one:
        name: of the row in its file. title: for a person. key: what was measured and on what, as a digest.
        settings: what distinguishes it from the other rows of its file. test_set: the manifest's name.
        bundle, folder: where it is kept. host: the machine that measured it, where several work on one search.
    How it ended:
        state: "complete" (measured), "cut" (over budget, hopeless or a repetition) or "failed"; `reason` is the
        sentence. seconds: spent on it. worked: whether more than an estimate was spent on it.
        report: a stage's own account of what it did.
    Sizes:
        parameters, nonzero: of the network. bytes: of the bundle, `estimated` until it is built. packed: bytes
        through zlib. extra_bytes: bytes more than without the change. memory: bytes, peak of the process.
    Accuracy:
        clips, words, substitutions, deletions, insertions: over the whole test set. wer, partial_wer: fractions, of
        the finals and of the last partial before each. wer_interval: low and high, 95 % bootstrap over the clips, of
        wer. saved_wer: how much lower wer is than without the change.
        loss: fp32, before training, nats a character.
    Time:
        rtf: all computation. partial_rtf: encoding and updates, without voice activity and finals.
        finalization, compute: seconds from the end of speech to the final, with the hang-over and without.
        emission: seconds from a word to its partial, audio clock. first_partial: seconds, median.
        chunk_compute: seconds a chunk, median. flicker: words changed per final word.
    """

    name: str
    title: str = ""
    key: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    test_set: str = ""
    bundle: str = ""
    folder: str = ""
    host: str = ""
    state: State = "complete"
    reason: str = ""
    seconds: Seconds | None = None
    worked: bool = True
    report: Any = None
    parameters: int | None = None
    nonzero: int | None = None
    bytes: int | None = None
    estimated: bool = False
    packed: int | None = None
    extra_bytes: int | None = None
    memory: int | None = None
    clips: int | None = None
    words: int | None = None
    substitutions: int | None = None
    deletions: int | None = None
    insertions: int | None = None
    wer: float | None = None
    wer_interval: Sequence[float] | None = None
    partial_wer: float | None = None
    saved_wer: float | None = None
    loss: float | None = None
    rtf: float | None = None
    partial_rtf: float | None = None
    finalization_p50: Seconds | None = None
    finalization_p95: Seconds | None = None
    compute_p50: Seconds | None = None
    compute_p95: Seconds | None = None
    emission_p50: Seconds | None = None
    emission_p95: Seconds | None = None
    first_partial: Seconds | None = None
    chunk_compute: Seconds | None = None
    flicker: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields that tell something, as plain JSON values."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "", {})}


def from_json(values: Mapping[str, Any]) -> Measurement:
    """A row from a parsed line; unknown keys are left out, so that older programs read newer files.

    Raises:
        TypeError: the name is missing. AttributeError: `values` is no object.
    """
    known = {field.name for field in fields(Measurement)}
    return Measurement(**{key: value for key, value in values.items() if key in known})


def read_rows(path: Path) -> list[Measurement]:
    """The rows of a file, none where there is no file.

    Raises:
        MeasurementError: the file cannot be read, or a line is no row.
    """
    if not path.is_file():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MeasurementError(f"{path} cannot be read: {error}.") from None
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(from_json(json.loads(line)))
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise MeasurementError(
                f"{path}, line {number}: wanted an object with a name, found {line[:60]!r}; remove the line, and the "
                "command that wrote the file measures it again."
            ) from None
    return rows


def write_rows(rows: Iterable[Measurement], path: Path) -> None:
    """Writes the rows; the file appears when it is whole.

    Raises:
        OutputError: it cannot be written.
    """
    write(path, "".join(json.dumps(row.to_json(), ensure_ascii=False) + "\n" for row in rows))


def bench_figures(record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a measurement that a benchmark's record tells, see device_asr/bench/report.py."""
    corpus = record["corpora"][0]
    names = ("clips", "words", "substitutions", "deletions", "insertions", "wer", "wer_interval", "rtf")
    return {
        **{name: corpus[name] for name in names},
        "finalization_p50": corpus["finalization"]["p50"],
        "finalization_p95": corpus["finalization"]["p95"],
        "compute_p50": corpus["finalization_no_hangover"]["p50"],
        "compute_p95": corpus["finalization_no_hangover"]["p95"],
        "memory": record.get("peak_memory_bytes"),
    }


def cells(row: Measurement, speed_factor: float = 1.0) -> list[str]:
    """For a person: parameters (M), bytes (MB), WER (%), RTF, finalization (ms, p95, no hang-over), seconds spent.

    Args:
        speed_factor: a device's time / this machine's time, which RTF and finalization are multiplied by.
    """
    return [
        figure(row.parameters, 1e-6, ".1f"),
        figure(row.bytes, 1e-6, ".1f"),
        figure(row.wer, 100, ".1f"),
        figure(row.rtf, speed_factor, ".3f"),
        figure(row.compute_p95, 1000 * speed_factor, ".0f"),
        figure(row.seconds, 1, ".0f"),
    ]
