"""The chunk sweep: each chunking's method `stream`, beside a bundle's decoder, with the accuracy and cost of partials.

A row of chunk-sweep.jsonl stands for a program, a bundle and the speech they were measured on; the same command goes on
after the last. The last row of each table is the policy without `stream`: the utterance is encoded again and again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compress import tables
from compress.data.training_data import Progress
from compress.evaluate.measurement import Measurement, read_rows, write_rows
from compress.export.export import export_stream
from compress.networks.checkpoint import Checkpoint
from compress.networks.chunking import Chunking
from compress.quantize.plan import QuantizationPlan
from compress.tables import figure
from device_asr.bench.report import final_errors, partial_errors
from device_asr.bench.run import ClipResult, Corpus, read_audio, recognize
from device_asr.bench.suite import TestSet
from device_asr.bench.timed import StreamProgram, TimedRecognizer, timed_recognizer, with_partials
from device_asr.bundle.bundle import Bundle
from device_asr.bundle.method import open_program
from device_asr.bundle.roles import CROSS_KEYS, numbered
from device_asr.config import Config
from device_asr.config import load as load_config
from device_asr.errors import UsageError
from device_asr.events import Seconds

LEDGER, NAME = "chunk-sweep.jsonl", "chunk-sweep"  # in the work folder; of the markers
SHORTEST: Seconds = 0.16  # of the usual chunks
TAIL: Seconds = 1.0  # silence after each clip, longer than the hang-over, so that utterances end by themselves
HEAD = (
    "chunk, ms",
    "look-ahead, ms",
    "left context, s",
    "WER of the last partials, %",
    "WER, %",
    "word emission, ms, p50 / p95",
    "first partial, ms, p50",
    "flicker, %",
    "RTF of partials",
    "one chunk, ms",
)


@dataclass(frozen=True)
class Variant:
    """A way to make partials: in chunks of a `chunking`, or None: each utterance is encoded again.

    position: seconds of one position of the encoder.
    """

    chunking: Chunking | None
    position: Seconds

    @property
    def lengths(self) -> dict[str, Seconds]:
        """Seconds of a chunk, of its look-ahead and of its left context; nothing where utterances are encoded again."""
        if self.chunking is None:
            return {}
        chunk = self.position * self.chunking.size
        return {
            "chunk": chunk,
            "look_ahead": chunk * self.chunking.look_ahead,
            "left_context": self.position * self.chunking.left_context,
        }

    @property
    def title(self) -> str:
        """For a person."""
        if self.chunking is None:
            return "encoded again"
        chunk, look_ahead, left_context = self.lengths.values()
        return f"{1000 * chunk:.0f}{f' and {1000 * look_ahead:.0f}' if look_ahead else ''} ms, {left_context:g} s"


def usual_chunks(position: Seconds) -> tuple[float, ...]:
    """Chunks (ms) of about 160, 320 and 640 ms: so many whole positions, twice and four times as many."""
    shortest = round(SHORTEST / position)
    return tuple(1000 * position * shortest * times for times in (1, 2, 4))


def variants(
    chunks: Sequence[float], left_contexts: Sequence[Seconds], look_aheads: Sequence[float], position: Seconds
) -> list[Variant]:
    """Every chunk (ms) with every left context (s) and look-ahead (ms, up to whole chunks), then encoding again.

    Args:
        position: seconds of one position of the encoder.

    Raises:
        UsageError: a chunk is not a whole number of positions, or a context is negative.
    """
    for chunk in chunks:
        if chunk <= 0 or chunk % (1000 * position):
            raise UsageError(f"Chunk: wanted a multiple of {1000 * position:.0f} ms, found {chunk:g}.")
    made = [
        Chunking(round(chunk / 1000 / position), round(left_context / position), math.ceil(look_ahead / chunk))
        for left_context in left_contexts
        for look_ahead in look_aheads
        for chunk in chunks
    ]
    return [Variant(chunking, position) for chunking in [*dict.fromkeys(made), None]]


@dataclass(frozen=True)
class ChunkSweep:
    """Measures variants and keeps their rows in `work`.

    checkpoint: with a CTC head; `bundle` was made of it, and its decoder, voice activity detector and full-context
    encoder are used. plan: how the checkpoint is quantized.
    """

    checkpoint: Checkpoint
    plan: QuantizationPlan
    bundle: Bundle
    threads: int
    work: Path
    progress: Progress

    def __post_init__(self) -> None:
        dims = self.checkpoint.dims
        wanted = [[x.cross_heads, dims.head_dim] for x in dims.decoder]
        inputs = self.bundle.manifest["programs"]["speech"]["methods"]["decode"]["inputs"]
        shapes = {tensor["role"]: tensor["shape"] for tensor in inputs}
        found = [shapes[role][:2] for role in numbered(CROSS_KEYS, shapes)]
        if wanted != found:
            raise UsageError(
                f"Wanted the bundle that was made of this checkpoint, whose cross-attention has the heads and "
                f"dimensions {wanted}, found {self.bundle.name} with {found}; give its folder with --model."
            )

    def run(self, wanted: Sequence[Variant], test_sets: Sequence[TestSet]) -> list[Measurement]:
        """A row for each manifest and variant, in that order; what was measured before is not measured again.

        Raises:
            MeasurementError, OutputError: the rows cannot be read or written. AudioError: a clip cannot be read.
        """
        self.work.mkdir(parents=True, exist_ok=True)
        rows = {row.key: row for row in read_rows(self.work / LEDGER)}
        weights = _digest(
            {
                name: hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
                for name, tensor in self.checkpoint.weights.items()
            }
        )
        files = {name: entry["sha256"] for name, entry in self.bundle.manifest["files"].items()}
        keys = {}
        for variant in wanted:
            made = None if variant.chunking is None else [weights, self.plan.to_table(), asdict(variant.chunking)]
            for test_set in test_sets:
                keys[variant, test_set.path] = _digest([made, files, _references(test_set), self.threads])
            missing = [test_set for test_set in test_sets if keys[variant, test_set.path] not in rows]
            if not missing:
                self.progress(variant.title, 1.0, "unchanged")
                continue
            self.progress(variant.title, None, "")
            with self._recognizer(variant) as timed:
                for test_set in missing:
                    key = keys[variant, test_set.path]
                    rows[key] = self._measure(timed, variant, test_set, key)
                    write_rows(rows.values(), self.work / LEDGER)
                    self.progress(f"{variant.title}: {test_set.name}", 1.0, _told(rows[key]))
        return [rows[keys[variant, test_set.path]] for test_set in test_sets for variant in wanted]

    def config(self, variant: Variant) -> Config:
        """The default settings, without a person's file or environment, with an update for each chunk."""
        flags = {"model.name": str(self.bundle.path), "model.threads": self.threads}
        plain = load_config(Path(os.devnull), environ={}, flags=flags).config
        return with_partials(plain, "reencode" if variant.chunking is None else "stream")

    @contextmanager
    def _recognizer(self, variant: Variant) -> Iterator[TimedRecognizer]:
        if variant.chunking is None:
            yield timed_recognizer(self.bundle, self.config(variant))
            return
        program = export_stream(self.checkpoint, self.plan, variant.chunking)
        method = program.methods["stream"]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "stream.pte"
            path.write_bytes(program.data)
            session = open_program(path, program.methods, threads=self.threads)
            yield timed_recognizer(self.bundle, self.config(variant), StreamProgram(method, session))

    def _measure(self, timed: TimedRecognizer, variant: Variant, test_set: TestSet, key: str) -> Measurement:
        corpus = Corpus(test_set.name)
        for number, clip in enumerate(test_set.clips):
            pcm = read_audio(clip.audio)
            if number == 0:
                recognize(timed.recognizer, pcm, TAIL)  # the first run plans memory; it is not counted
                timed.forget()
            corpus.add(ClipResult(clip, recognize(timed.recognizer, pcm, TAIL)))
            self.progress(f"{variant.title}: {test_set.name}", (number + 0.5) / len(test_set.clips), "")
        latency = corpus.latency
        finals = final_errors(corpus).record()
        return Measurement(
            variant.title,
            key=key,
            settings=variant.lengths,
            test_set=test_set.name,
            clips=len(corpus.results),
            words=finals["words"],
            partial_wer=partial_errors(corpus).wer,
            wer=finals["wer"],
            wer_interval=finals["wer_interval"],
            emission_p50=latency.word_emission.p50,
            emission_p95=latency.word_emission.p95,
            first_partial=latency.first_partial.p50,
            flicker=latency.flicker,
            partial_rtf=timed.partial_seconds / corpus.audio,
            chunk_compute=float(np.median(timed.chunks)) if timed.chunks else None,
        )


def table(rows: Sequence[Measurement], measured_on: str, command: str) -> str:
    """The rows as Markdown, a table for each manifest, under a sentence with the command that made them."""
    lines = [f"{measured_on}, audio clock, streaming path. `{command}`"]
    for name in dict.fromkeys(row.test_set for row in rows):
        own = [row for row in rows if row.test_set == name]
        lines += ["", f"{name} ({own[0].clips} clips, {own[0].words} words):", ""]
        lines += tables.markdown(HEAD, map(_cells, own))
    return "\n".join(lines)


def _cells(row: Measurement) -> list[str]:
    way = ["encoded again", "", "all"]
    if row.settings:
        chunk, look_ahead, left_context = (row.settings[name] for name in ("chunk", "look_ahead", "left_context"))
        way = [figure(chunk, 1000, ".0f"), figure(look_ahead, 1000, ".0f"), f"{left_context:g}"]
    return [
        *way,
        figure(row.partial_wer, 100, ".1f"),
        figure(row.wer, 100, ".1f"),
        f"{figure(row.emission_p50, 1000, '.0f')} / {figure(row.emission_p95, 1000, '.0f')}",
        figure(row.first_partial, 1000, ".0f"),
        figure(row.flicker, 100, ".1f"),
        figure(row.partial_rtf, 1, ".3f"),
        figure(row.chunk_compute, 1000, ".1f"),
    ]


def _told(row: Measurement) -> str:
    return f"WER of partials {figure(row.partial_wer, 100, '.1f')} %, RTF {figure(row.partial_rtf, 1, '.3f')}"


def _references(test_set: TestSet) -> list[list[str | None]]:
    return [[str(clip.audio), clip.text] for clip in test_set.clips]


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
