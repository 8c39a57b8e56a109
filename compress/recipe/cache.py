"""Results of stages on disk, by a key made of everything they depend on, and what each stage did."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Any

from compress.checkpoints import base, own
from compress.checkpoints.load import load_checkpoint
from compress.data.training_data import Progress, TrainingData
from compress.evaluate.measurement import Measurement, write_rows
from compress.networks.checkpoint import Checkpoint
from compress.recipe.technique import Technique
from compress.recipe.techniques import settings_of
from compress.settings import key as key_of
from device_asr.files import write_whole

STAGES, REPORT = "stages.jsonl", "report.json"
FLOAT_BYTES = 4
CACHE_VERSION = 1  # a part of every key: raised when the same settings make another result


def origin(teacher: str) -> str:
    """The key of what a recipe begins with: the teacher's name, and of a base, which is replaced, its bytes too."""
    if Path(teacher).suffix != base.SUFFIX:
        return f"teacher-{teacher}"
    return f"teacher-{teacher}-{hashlib.sha256(Path(teacher).read_bytes()).hexdigest()[:12]}"


class Stages:
    """Results in `work`, and rows for stages.jsonl: each stage's name, sizes, seconds and report.

    Rows are of the last walk in this folder. Their seconds are those of the run that ended the stage:
    what came before a cut is not in them.
    """

    def __init__(self, work: Path, progress: Progress) -> None:
        self.work, self.progress = work, progress
        self._rows: list[Measurement] = []

    def folder(self, stage: str, *inputs: Any) -> Path:
        """Where the result of `stage` for these inputs is kept."""
        facts = json.dumps([CACHE_VERSION, stage, *inputs], sort_keys=True)
        return self.work / f"{stage}-{hashlib.sha256(facts.encode()).hexdigest()[:12]}"

    def walk(
        self,
        tables: Sequence[Mapping[str, Any]],
        corpus: Mapping[str, int | str],
        data: TrainingData,
        checkpoint: Checkpoint,
        key: str,
    ) -> tuple[Checkpoint, str]:
        """Runs a recipe's stages after `checkpoint`, or finds their results, and the key for what comes after them.

        Args:
            corpus: the recipe's, part of the key of stages that learn from it.
            key: of what `checkpoint` is, the teacher's or that of an earlier walk.

        Raises:
            UsageError, CheckpointError, CorpusError, TrainingError, OutputError: one sentence each.
        """
        for table in tables:
            technique, settings = settings_of(table)
            others = [load_checkpoint(source).key() for source in technique.reads(settings)]
            inputs = (key, key_of(settings), dict(corpus) if technique.learns(settings) else None, others)

            def run(
                folder: Path,
                technique: Technique = technique,
                settings: Any = settings,
                before: Checkpoint = checkpoint,
            ) -> tuple[Checkpoint, Any]:
                return technique.run(before, settings, data, folder)

            checkpoint, key = self.checkpoint(table["do"], inputs, run)
            data.zeros_stay |= technique.zeros
        return checkpoint, key

    def checkpoint(
        self, stage: str, inputs: tuple[Any, ...], make: Callable[[Path], tuple[Checkpoint, Any]]
    ) -> tuple[Checkpoint, str]:
        """The stage's checkpoint, made where it is not there yet, and the key for stages after it."""
        folder = self.folder(stage, *inputs)
        if (folder / "checkpoint.json").is_file():
            result = own.load(folder)
            self.progress(stage, 1.0, "unchanged")
        else:
            self.progress(stage, None, "")
            began = time.monotonic()
            result, report = make(folder)
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / REPORT, {"seconds": round(time.monotonic() - began, 1), "report": plain(report)})
            own.save(result, folder)  # last: its presence means that the stage is whole
            self.progress(stage, 1.0, f"{result.parameters / 1e6:.2f} M parameters; {result.provenance[-1]}")
        self.note(stage, result.parameters, FLOAT_BYTES * result.parameters, folder)
        return result, folder.name

    def note(self, stage: str, parameters: int, size: int, folder: Path | None = None) -> None:
        """Adds a row to stages.jsonl, with what the stage's folder says of it."""
        row = Measurement(stage, parameters=parameters, bytes=size)
        if folder is not None and (folder / REPORT).is_file():  # results of earlier versions have none
            told = json.loads((folder / REPORT).read_text())
            verdicts = (told["report"] or {}).get("verdicts")
            wer = min(verdict["wer"] for verdict in verdicts) if verdicts else None
            row = replace(row, folder=folder.name, seconds=told["seconds"], report=told["report"], wer=wer)
        self._rows.append(row)
        self.work.mkdir(parents=True, exist_ok=True)
        write_rows(self._rows, self.work / STAGES)


def plain(report: Any) -> Any:
    """A report as JSON values; None: nothing to tell."""
    return asdict(report) if is_dataclass(report) and not isinstance(report, type) else report


def write_json(path: Path, values: Any) -> None:
    """Writes a JSON file that appears when it is whole."""
    write_whole(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")
