"""The table of chunk sizes: the encoder's method `stream` alone for each, beside a bundle's decoder, and what it costs.

A row of chunks.jsonl stands for a program, a bundle and the speech they were measured on; the same command goes on
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
from compress.export.export import export_stream
from compress.networks.checkpoint import Checkpoint
from compress.networks.chunking import Chunking
from compress.quantize.plan import QuantizationPlan
from compress.tables import figure
from device_asr.bench.report import counts
from device_asr.bench.run import ClipResult, Corpus, read_audio, recognize
from device_asr.bench.suite import TestSet
from device_asr.bench.timed import StreamProgram, TimedRecognizer, timed_recognizer, with_partials
from device_asr.bundle.bundle import Bundle
from device_asr.config import Config
from device_asr.config import load as load_config
from device_asr.errors import UsageError
from device_asr.events import Seconds
from device_asr.runtime.session import open_session

LEDGER, NAME = "chunks.jsonl", "chunks"  # in the work folder; of the markers
POSITION: Seconds = 0.02
TAIL: Seconds = 1.0  # of silence after each clip, so that utterances end by themselves: the hang-over and a little more
HEAD = (
    "chunk, ms",
    "ahead, ms",
    "past, s",
    "WER of the last partials, %",
    "WER, %",
    "word emission, ms, p50 / p95",
    "first partial, ms, p50",
    "flicker, %",
    "RTF of partials",
    "one chunk, ms",
)


@dataclass(frozen=True)
class Point:
    """A way to partials: a chunking, or None: each utterance encoded again."""

    chunking: Chunking | None

    @property
    def title(self) -> str:
        """For a person."""
        if self.chunking is None:
            return "encoded again"
        own, ahead, past = seconds(self.chunking)
        return f"{1000 * own:.0f}{f' and {1000 * ahead:.0f}' if ahead else ''} ms, {past:g} s"


def seconds(chunking: Chunking) -> tuple[Seconds, Seconds, Seconds]:
    """Of a chunk, of what is ahead of it, and of its past."""
    return (POSITION * chunking.size, POSITION * chunking.size * chunking.look_ahead, POSITION * chunking.left_context)


def points(chunks: Sequence[float], pasts: Sequence[float], aheads: Sequence[float]) -> list[Point]:
    """Every chunk (ms) with every past (s) and every look-ahead (ms, up to whole chunks), then the policy without.

    Raises:
        UsageError: a chunk is no multiple of 20 ms, or a past or look-ahead is negative.
    """
    for chunk in chunks:
        if chunk <= 0 or chunk % (1000 * POSITION):
            raise UsageError(f"Chunk: wanted a multiple of {1000 * POSITION:.0f} ms, found {chunk:g}.")
    made = [
        Chunking(round(chunk / 1000 / POSITION), round(past / POSITION), math.ceil(ahead / chunk))
        for past in pasts
        for ahead in aheads
        for chunk in chunks
    ]
    return [*map(Point, dict.fromkeys(made)), Point(None)]


@dataclass(frozen=True)
class Row:
    """One point on one manifest.

    chunk, ahead, past: seconds; None: encoded again. words, partial_wer, wer: over the whole manifest, of the last
    partial before each final and of the finals. emission: seconds, (p50, p95), audio clock. first: seconds, p50.
    flicker: words changed per final word. rtf: of hearing and updates, without voice activity and finals.
    chunk_compute: seconds, median.
    """

    key: str
    manifest: str
    chunk: Seconds | None
    ahead: Seconds | None
    past: Seconds | None
    clips: int
    words: int
    partial_wer: float | None
    wer: float | None
    emission: tuple[Seconds | None, Seconds | None]
    first: Seconds | None
    flicker: float | None
    rtf: float
    chunk_compute: Seconds | None


def read_rows(path: Path) -> dict[str, Row]:
    """The rows of a work folder; see `tables.read_rows`."""
    return tables.read_rows(path, lambda values: Row(**{**values, "emission": tuple(values["emission"])}))


@dataclass(frozen=True)
class Chunks:
    """What a table is made with.

    checkpoint: with a CTC head; the one that `bundle` was made of, whose decoder, detector and full-context
    encoder are used. plan: how it is quantized.
    """

    checkpoint: Checkpoint
    plan: QuantizationPlan
    bundle: Bundle
    threads: int
    work: Path
    progress: Progress

    def __post_init__(self) -> None:
        dims = self.checkpoint.dims
        wanted = [{"heads": x.heads, "cross_heads": x.cross_heads, "head_dim": dims.head_dim} for x in dims.decoder]
        found = [dict(layer) for layer in self.bundle.manifest["speech"]["layers"]]
        if wanted != found:
            raise UsageError(
                f"Wanted the bundle that was made of this checkpoint, whose decoder has {wanted}, found "
                f"{self.bundle.name} with {found}; give its folder with --model."
            )

    def run(self, wanted: Sequence[Point], test_sets: Sequence[TestSet]) -> list[Row]:
        """A row for each manifest and point, in that order; what was measured before is not measured again.

        Raises:
            TableError, OutputError: the rows cannot be read or written. AudioError: a clip cannot be read.
        """
        self.work.mkdir(parents=True, exist_ok=True)
        rows = read_rows(self.work / LEDGER)
        weights = _digest(
            {
                name: hashlib.sha256(np.ascontiguousarray(tensor.numpy())).hexdigest()
                for name, tensor in self.checkpoint.weights.items()
            }
        )
        files = {name: entry["sha256"] for name, entry in self.bundle.manifest["files"].items()}
        keys = {}
        for point in wanted:
            made = None if point.chunking is None else [weights, self.plan.to_table(), asdict(point.chunking)]
            for test_set in test_sets:
                keys[point, test_set.path] = _digest([made, files, _said(test_set), self.threads])
            left = [test_set for test_set in test_sets if keys[point, test_set.path] not in rows]
            if not left:
                self.progress(point.title, 1.0, "unchanged")
                continue
            self.progress(point.title, None, "")
            with self._recognizer(point) as timed:
                for test_set in left:
                    key = keys[point, test_set.path]
                    rows[key] = self._measure(timed, point, test_set, key)
                    tables.write_rows([asdict(row) for row in rows.values()], self.work / LEDGER)
                    self.progress(f"{point.title}: {test_set.name}", 1.0, _told(rows[key]))
        return [rows[keys[point, test_set.path]] for test_set in test_sets for point in wanted]

    def config(self, point: Point) -> Config:
        """Default settings, no person's file or environment; an update for each chunk."""
        flags = {"model.name": str(self.bundle.path), "model.threads": self.threads}
        plain = load_config(Path(os.devnull), environ={}, flags=flags).config
        return with_partials(plain, "reencode" if point.chunking is None else "stream")

    @contextmanager
    def _recognizer(self, point: Point) -> Iterator[TimedRecognizer]:
        if point.chunking is None:
            yield timed_recognizer(self.bundle, self.config(point))
            return
        program = export_stream(self.checkpoint, self.plan, point.chunking)
        method = program.methods["stream"]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "stream.pte"
            path.write_bytes(program.data)
            session = open_session(path, {"stream": [i["name"] for i in method["inputs"]]}, threads=self.threads)
            yield timed_recognizer(self.bundle, self.config(point), StreamProgram(method, session))

    def _measure(self, timed: TimedRecognizer, point: Point, test_set: TestSet, key: str) -> Row:
        corpus = Corpus(test_set.name)
        for number, clip in enumerate(test_set.clips):
            pcm = read_audio(clip.audio)
            if number == 0:
                recognize(timed.recognizer, pcm, TAIL)  # the first run plans memory; it is not counted
                timed.forget()
            corpus.add(ClipResult(clip, recognize(timed.recognizer, pcm, TAIL), None))
            self.progress(f"{point.title}: {test_set.name}", (number + 0.5) / len(test_set.clips), "")
        latency = corpus.latency
        finals = counts((result.clip.text, result.recognized.text) for result in corpus.results)
        partials = counts((result.clip.text, result.recognized.partial_text) for result in corpus.results)
        heard = (None, None, None) if point.chunking is None else seconds(point.chunking)
        return Row(
            key,
            test_set.name,
            *heard,
            len(corpus.results),
            finals["words"],
            partials["wer"],
            finals["wer"],
            (latency.word_emission.p50, latency.word_emission.p95),
            latency.first_partial.p50,
            latency.flicker,
            timed.partial_seconds / corpus.audio,
            float(np.median(timed.chunks)) if timed.chunks else None,
        )


def table(rows: Sequence[Row], heard: str, command: str) -> str:
    """The rows as Markdown, a table for each manifest, under a sentence with the command that made them."""
    lines = [f"{heard}, audio clock, streaming path. `{command}`"]
    for name in dict.fromkeys(row.manifest for row in rows):
        own = [row for row in rows if row.manifest == name]
        lines += ["", f"{name} ({own[0].clips} clips, {own[0].words} words):", ""]
        lines += tables.markdown(HEAD, map(_cells, own))
    return "\n".join(lines)


def _cells(row: Row) -> list[str]:
    emission = " / ".join(figure(value, 1000, ".0f") for value in row.emission)
    way = (
        ["encoded again", "", "all"]
        if row.chunk is None
        else [figure(row.chunk, 1000, ".0f"), figure(row.ahead, 1000, ".0f"), f"{row.past:g}"]
    )
    return [
        *way,
        figure(row.partial_wer, 100, ".1f"),
        figure(row.wer, 100, ".1f"),
        emission,
        figure(row.first, 1000, ".0f"),
        figure(row.flicker, 100, ".1f"),
        figure(row.rtf, 1, ".3f"),
        figure(row.chunk_compute, 1000, ".1f"),
    ]


def _told(row: Row) -> str:
    return f"WER of partials {figure(row.partial_wer, 100, '.1f')} %, RTF {row.rtf:.3f}"


def _said(test_set: TestSet) -> list[list[str | None]]:
    return [[str(clip.audio), clip.text] for clip in test_set.clips]


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
