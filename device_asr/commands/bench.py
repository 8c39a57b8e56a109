"""`device-asr bench`: accuracy, latency, computation and memory over corpora, beside a peer and the teacher."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from device_asr.errors import OutputError, UsageError

if TYPE_CHECKING:
    from rich.progress import Progress

    from device_asr.bench.run import Corpus
    from device_asr.config import Config
    from device_asr.manifest import Clip

TAIL_BEYOND_HANGOVER = 0.4  # seconds; the voice activity detector lags behind the end of speech


@dataclass(frozen=True)
class Options:
    """What was asked for; `manifests` maps the name shown to its clips."""

    manifests: dict[str, tuple[Path, list[Clip]]]
    noise: float | None
    peer: bool
    teacher: bool
    tail: float
    detail: Path | None


def benchmark(config: Config, options: Options, progress: Progress) -> dict[str, Any]:
    """The record that `device_asr.bench.report` describes; writes `--detail`."""
    from time import perf_counter

    from device_asr.bench.memory import peak_memory
    from device_asr.bench.noise import KINDS, hear_noise
    from device_asr.bench.peer import NAME, Peer
    from device_asr.bench.report import VERSION, corpus_record, noise_record
    from device_asr.bench.run import CHUNK, Corpus, measure
    from device_asr.bench.teacher import check_installed, teacher_texts
    from device_asr.recognizer import StreamingRecognizer
    from device_asr.sources import SAMPLE_RATE

    if options.teacher:
        check_installed()  # before the minutes that the rest takes
    with contextlib.ExitStack() as stack:
        peer = stack.enter_context(Peer(config.model.threads)) if options.peer else None
        began = perf_counter()
        recognizer = StreamingRecognizer.from_config(config)
        load = perf_counter() - began
        corpora = []
        for name, (_, clips) in options.manifests.items():
            corpus = Corpus(name)
            for result in progress.track(measure(recognizer, clips, options.tail, peer), len(clips), description=name):
                corpus.add(result)
            corpora.append(corpus)
        noise = [hear_noise(recognizer, kind, options.noise / len(KINDS))
                 for kind in progress.track(KINDS, description="noise")] if options.noise else []
        memory = peak_memory()  # before scoring, which the recogniser has no part in
        theirs = None if peer is None else {
            "name": NAME, "version": peer.version, "compute_type": "int8", "load_s": peer.load,
            "peak_memory_bytes": peer.peak_memory()}
    if options.teacher:
        for corpus, (path, clips) in zip(corpora, options.manifests.values(), strict=True):
            texts = teacher_texts(path, len(clips), config.model.threads)
            corpus.teacher = list(progress.track(texts, len(clips), description=f"teacher, {corpus.manifest}"))
    if options.detail:
        write_details(options.detail, corpora)
    return {
        "version": VERSION, "model": config.model.name, "threads": config.model.threads, "clock": "audio",
        "chunk_s": CHUNK / SAMPLE_RATE, "tail_s": options.tail, "partials": config.partial.enabled,
        "guards": config.decoding.guards, "load_s": load, "peak_memory_bytes": memory,
        "corpora": [corpus_record(corpus) for corpus in corpora], "peer": theirs,
        "noise": noise_record(noise) if noise else None, "realtime": None}


def write_details(path: Path, corpora: list[Corpus]) -> None:
    """One JSON object a clip; the file appears when it is whole.

    Raises:
        OutputError: it cannot be written.
    """
    from device_asr.bench.report import details

    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            for corpus in corpora:
                for record in details(corpus):
                    file.write(json.dumps(record, ensure_ascii=False) + "\n")
        os.replace(partial, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}; choose another --detail.") from None
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def progress_bars() -> Iterator[Progress]:
    """Bars on standard error where it is a terminal, else nothing."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        yield progress


def read_manifests(paths: tuple[str, ...], limit: int | None) -> dict[str, tuple[Path, list[Clip]]]:
    """The clips of each manifest, checked, by the name it is shown under."""
    from device_asr.manifest import ManifestError, check_clips, read_manifest

    found: dict[str, tuple[Path, list[Clip]]] = {}
    for path in map(Path, paths):
        clips = read_manifest(path)[:limit]
        problem = check_clips(clips)
        if problem:
            raise ManifestError(f"{path}: {problem}.")
        name = path.stem if path.stem not in found else str(path)
        if name in found:
            raise UsageError(f"The manifest {path} was given twice; give each once.")
        found[name] = path, clips
    return found


@click.command(name="bench")
@click.argument("manifests", nargs=-1, metavar="MANIFEST...")
@click.option("--noise", type=click.FloatRange(min=1), metavar="SECONDS",
              help="Also hear this long of white, pink, hum, clicks and silence, and count the words made of it.")
@click.option("--peer", type=click.Choice(["faster-whisper"]),
              help="Run it beside, int8 with the teacher's weights, on the same clips.")
@click.option("--teacher", is_flag=True, help="Also the teacher's WER: 30 s of context, greedy, fp32.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N clips of each manifest.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the model, and of the peer.")
@click.option("--partials/--no-partials", default=None, help="Text while a phrase goes on, or finals alone.")
@click.option("--guards", type=click.Choice(["on", "off"]), help="The guards against loops and invented text.")
@click.option("--tail", type=click.FloatRange(min=0), metavar="SECONDS",
              help="Silence after each clip, so that phrases end by themselves.  [default: hang-over + 0.4]")
@click.option("--detail", type=click.Path(dir_okay=False), metavar="FILE", help="Write one JSON object a clip.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--model", metavar="NAME", help="A model's name, or the path of a bundle folder.")
@click.option("--config", "config_file", type=click.Path(dir_okay=False), help="Config file to read.")
def command(manifests: tuple[str, ...], noise: float | None, peer: str | None, teacher: bool, limit: int | None,
            threads: int | None, partials: bool | None, guards: str | None, tail: float | None, detail: str | None,
            as_json: bool, model: str | None, config_file: str | None) -> None:
    """Measure accuracy, latency and computation over corpora (JSONL manifests of audio and text)."""
    from device_asr import config
    from device_asr.bench.report import table

    if not manifests and not noise:
        raise UsageError("Nothing to measure: wanted a MANIFEST (a JSONL file) or --noise SECONDS, found neither.")
    flags = {"model.name": model, "model.threads": threads, "partial.enabled": partials, "decoding.guards": guards}
    settings = config.load(Path(config_file) if config_file else None, flags=flags).config
    if tail is None:
        tail = settings.endpoint.hangover_ms / 1000 + TAIL_BEYOND_HANGOVER
    options = Options(read_manifests(manifests, limit), noise, peer is not None, teacher, tail,
                      Path(detail) if detail else None)
    with progress_bars() as progress:
        record = benchmark(settings, options, progress)
    click.echo(json.dumps(record, ensure_ascii=False, indent=2) if as_json else table(record))
