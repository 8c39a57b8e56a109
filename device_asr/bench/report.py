"""The results of a benchmark as one JSON object.

JSON, durations in seconds, memory in bytes, rates as fractions, null where nothing was measured:
    version (1), model, threads, clock ("audio" | "wall"), chunk_s, tail_s, partials, guards, load_s,
    peak_memory_bytes
    corpora: a list of
        manifest, clips, audio_s, compute_s, rtf, finals_compute_s, partials_compute_s
        words, substitutions, deletions, insertions, wer, cer, loops     (clips that have a text)
        partials: the word counts of the last partial before each final; null where none was shown, or in real time
        utterances, finals, final_words, flicker, flicker_strict
        first_partial, word_emission, finalization, finalization_no_hangover: {n, p50, p95}
        peer: null or {compute_s, rtf, ratio_finals, ratio_all, and the word counts}
            ratio_finals: finals_compute_s / the peer's compute_s; ratio_all: compute_s / the peer's
        teacher: null or {the word counts, difference: wer - the teacher's wer}
        hotwords: null or {words (how many are favored), with, without (the same clips without them; null in
            real time): {finals, partials (as above):
            {said, found, false_alarms, recall, false_alarms_per_hour, and the word counts}}}
    peer: null or {name, version, compute_type, load_s, peak_memory_bytes}
    noise: null or {words, partial_words, seconds, kinds: {kind: {seconds, words, partial_words, texts}}}
    realtime: null or {device, wall_s, cpu, backlog_max_s, overflows, lost_s}    (cpu: of one core)
The definitions are in `device_asr.metrics.latency`, `device_asr.metrics.wer` and, of said, found and false alarms,
`device_asr.bench.custom`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from device_asr.audio.format import STEP_S
from device_asr.bench.custom import recall
from device_asr.bench.noise import NoiseResult
from device_asr.bench.run import ClipResult, Corpus, Recognized
from device_asr.config import Config
from device_asr.events import Seconds
from device_asr.metrics.latency import Series, rtf
from device_asr.metrics.wer import word_errors

VERSION = 1


def counts(pairs: Iterable[tuple[str | None, str]]) -> dict[str, Any]:
    """The word counts of (reference, hypothesis); pairs without a reference are left out."""
    found = word_errors((reference, text) for reference, text in pairs if reference is not None)
    record = asdict(found)
    del record["clips"]
    return {**record, "wer": found.wer}


def series(values: Series) -> dict[str, Any]:
    """The entry of a series: its count, p50 and p95."""
    return {"n": values.count, "p50": values.p50, "p95": values.p95}


def corpus_record(corpus: Corpus) -> dict[str, Any]:
    """One entry of `corpora`."""
    latency, references = corpus.latency, [result.clip.text for result in corpus.results]
    finals = sum(latency.final_compute.values)
    record = {
        "manifest": corpus.manifest,
        "clips": len(corpus.results),
        "audio_s": corpus.audio,
        "compute_s": corpus.compute,
        "rtf": rtf(corpus.compute, corpus.audio),
        "finals_compute_s": finals,
        "partials_compute_s": sum(latency.partial_compute.values),
        **counts((result.clip.text, result.recognized.text) for result in corpus.results),
        "utterances": latency.utterances,
        "finals": latency.finals,
        "final_words": latency.final_words,
        "flicker": latency.flicker,
        "flicker_strict": latency.flicker_strict,
        "first_partial": series(latency.first_partial),
        "word_emission": series(latency.word_emission),
        "finalization": series(latency.finalization),
        "finalization_no_hangover": series(latency.finalization_no_hangover),
        "partials": partials_record(corpus.results),
        "peer": None,
        "teacher": None,
        "hotwords": hotwords_record(corpus) if corpus.custom else None,
    }
    if corpus.peer_compute:
        record["peer"] = {
            "compute_s": corpus.peer_compute,
            "rtf": rtf(corpus.peer_compute, corpus.audio),
            "ratio_finals": finals / corpus.peer_compute,
            "ratio_all": corpus.compute / corpus.peer_compute,
            **counts((result.clip.text, result.peer.text) for result in corpus.results if result.peer),
        }
    if corpus.teacher is not None:
        teacher = counts(zip(references, corpus.teacher, strict=True))
        both = record["wer"] is not None and teacher["wer"] is not None
        record["teacher"] = {**teacher, "difference": record["wer"] - teacher["wer"] if both else None}
    return record


def partials_record(results: Sequence[ClipResult]) -> dict[str, Any] | None:
    """The entry `partials` of a corpus."""
    if not any(result.recognized.partials for result in results):
        return None
    return counts((result.clip.text, result.recognized.partial_text) for result in results)


def hotwords_record(corpus: Corpus) -> dict[str, Any]:
    """The entry `hotwords` of a corpus."""
    references = [result.clip.text for result in corpus.results]
    hours = sum(result.recognized.seconds for result in corpus.results if result.clip.text is not None) / 3600

    def part(texts: Iterable[str]) -> dict[str, Any]:
        pairs = list(zip(references, texts, strict=True))
        found = recall(corpus.custom, pairs)
        return {
            **asdict(found),
            "recall": found.recall,
            "false_alarms_per_hour": found.false_alarms / hours if hours else None,
            **counts(pairs),
        }

    def both(recognized: Sequence[Recognized]) -> dict[str, Any]:
        shown = any(one.partials for one in recognized)
        return {
            "finals": part(one.text for one in recognized),
            "partials": part(one.partial_text for one in recognized) if shown else None,
        }

    return {
        "words": len(corpus.custom),
        "with": both([result.recognized for result in corpus.results]),
        "without": both(corpus.plain) if corpus.plain else None,
    }


@dataclass(frozen=True)
class Measured:
    """The measurements of a whole benchmark.

    clock: "audio" or "wall". tail: seconds of silence after each clip. load: seconds until the recognizer was
    loaded. memory: peak of the resident bytes. corpora, peer, noise, realtime: the entries of the record.
    """

    clock: str
    tail: Seconds
    load: Seconds
    memory: int | None
    corpora: list[dict[str, Any]]
    peer: dict[str, Any] | None = None
    noise: dict[str, Any] | None = None
    realtime: dict[str, Any] | None = None


def record(config: Config, measured: Measured) -> dict[str, Any]:
    """The whole record."""
    return {
        "version": VERSION,
        "model": config.model.name,
        "threads": config.model.threads,
        "clock": measured.clock,
        "chunk_s": STEP_S,
        "tail_s": measured.tail,
        "partials": config.partial.enabled,
        "guards": config.decoding.guards,
        "load_s": measured.load,
        "peak_memory_bytes": measured.memory,
        "corpora": measured.corpora,
        "peer": measured.peer,
        "noise": measured.noise,
        "realtime": measured.realtime,
    }


def noise_record(results: Sequence[NoiseResult]) -> dict[str, Any]:
    """The entry `noise`."""
    kinds: dict[str, dict[str, Any]] = {
        r.kind: {"seconds": r.seconds, "words": r.words, "partial_words": r.partial_words, "texts": list(r.texts)}
        for r in results
    }
    totals = {key: sum(kind[key] for kind in kinds.values()) for key in ("words", "partial_words", "seconds")}
    return {**totals, "kinds": kinds}


def details(corpus: Corpus) -> Iterable[dict[str, Any]]:
    """One record a clip, for `--detail`: reference, text, counts, finals with their times, peer, teacher."""
    for index, result in enumerate(corpus.results):
        clip, recognized = result.clip, result.recognized
        yield {
            "manifest": corpus.manifest,
            "audio": str(clip.audio),
            "speaker": clip.speaker,
            "reference": clip.text,
            "text": recognized.text,
            **counts([(clip.text, recognized.text)]),
            "audio_s": recognized.seconds,
            "compute_s": recognized.compute,
            "finals": [asdict(final) for final in recognized.finals],
            "peer_text": result.peer.text if result.peer else None,
            "peer_compute_s": result.peer.compute if result.peer else None,
            "teacher_text": corpus.teacher[index] if corpus.teacher is not None else None,
        }
