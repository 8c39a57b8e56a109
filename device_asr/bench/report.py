"""The results of a benchmark as one JSON object.

JSON, durations in seconds, memory in bytes, rates as fractions, null where nothing was measured:
    version (2), model, threads, clock ("audio" | "wall"), chunk_s, tail_s, partials, guards, load_s,
    peak_memory_bytes
    corpora: a list of
        manifest, clips, audio_s, compute_s, rtf, finals_compute_s, partials_compute_s
        the word counts: words, substitutions, deletions, insertions, wer, wer_interval ([low, high], 95 %), cer, loops
            (of clips that have a text)
        promises: {lost_s (of sound), finals_lost, invented (words inserted), invented_per_hour (null without texts)}
        partials: the word counts of the last partial before each final; null where none was shown, or in real time
        utterances, finals, final_words, flicker, flicker_strict
        first_partial, word_emission, finalization, finalization_no_hangover: {n, p50, p95}
        word_times: null or {words, matched, before_start, starts, ends: null or {n, p50, p50_interval, p95, bias}}, the
            errors of the finals' words where the manifest has known times; null in real time
        confidence: null or {n, wrong, auc, right_mean, wrong_mean, calibration_error}, of the finals' words
        peers: {name: {compute_s, rtf, ratio_finals, ratio_all, the word counts, difference, difference_interval}}
            ratio_finals: finals_compute_s / the peer's compute_s; ratio_all: compute_s / the peer's
            difference: wer less the peer's wer; difference_interval: [low, high], 95 %, or null
        teacher: null or {the word counts, difference, difference_interval}
        against: null or an entry like this one, of the same clips with the settings `against`, and with difference,
            difference_interval, partials_difference and partials_difference_interval
        hotwords: null or {words (how many are favored), with, without (the same clips without them; null in
            real time): {finals, partials (as above):
            {said, found, false_alarms, recall, false_alarms_per_hour, and the word counts}}}
    against: {setting: value} of the other side; empty: there is none
    peers: {name: {version, compute_type, load_s, peak_memory_bytes}}
    noise: null or {words, partial_words, seconds, words_per_hour,
        kinds: {kind: {seconds, words, partial_words, texts}}}
    realtime: null or {device, wall_s, cpu, backlog_max_s, overflows, lost_s}    (cpu: of one core)
The definitions are in `device_asr.metrics.latency`, `device_asr.metrics.wer`, `device_asr.metrics.word_times`,
`device_asr.metrics.confidence`, of intervals in `device_asr.metrics.interval` and, of said, found and false alarms, in
`device_asr.bench.custom`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from device_asr.audio.format import STEP_S
from device_asr.bench.custom import recall
from device_asr.bench.noise import NoiseResult
from device_asr.bench.promises import broken
from device_asr.bench.run import ClipResult, Corpus, Recognized
from device_asr.config import Config
from device_asr.events import Seconds
from device_asr.metrics import confidence, word_times
from device_asr.metrics.latency import Series, rtf
from device_asr.metrics.wer import WordErrors, word_errors

VERSION = 2


def errors(pairs: Iterable[tuple[str | None, str]]) -> WordErrors:
    """The errors of (reference, hypothesis); pairs without a reference are left out."""
    return word_errors((reference, text) for reference, text in pairs if reference is not None)


def counts(found: WordErrors) -> dict[str, Any]:
    """The word counts of the record."""
    record = found.record()
    del record["clips"]
    return record


def difference(ours: WordErrors, theirs: WordErrors, prefix: str = "") -> dict[str, Any]:
    """The entries `difference` and `difference_interval` of ours less theirs, their names behind `prefix`."""
    found = ours.difference(theirs)
    interval = found.interval if found else None
    return {
        f"{prefix}difference": found.value if found else None,
        f"{prefix}difference_interval": [interval.low, interval.high] if interval else None,
    }


def series(values: Series) -> dict[str, Any]:
    """The entry of a series: its count, p50 and p95."""
    return {"n": values.count, "p50": values.p50, "p95": values.p95}


def corpus_record(corpus: Corpus) -> dict[str, Any]:
    """One entry of `corpora`."""
    latency = corpus.latency
    finals = sum(latency.final_compute.values)
    ours = final_errors(corpus)
    return {
        "manifest": corpus.manifest,
        "clips": len(corpus.results),
        "audio_s": corpus.audio,
        "compute_s": corpus.compute,
        "rtf": rtf(corpus.compute, corpus.audio),
        "finals_compute_s": finals,
        "partials_compute_s": sum(latency.partial_compute.values),
        **counts(ours),
        "utterances": latency.utterances,
        "finals": latency.finals,
        "final_words": latency.final_words,
        "flicker": latency.flicker,
        "flicker_strict": latency.flicker_strict,
        "first_partial": series(latency.first_partial),
        "word_emission": series(latency.word_emission),
        "finalization": series(latency.finalization),
        "finalization_no_hangover": series(latency.finalization_no_hangover),
        "promises": promises_record(corpus, ours),
        "word_times": word_times.summary(
            word_times.word_time_errors(result.clip.words, result.recognized.words)
            for result in corpus.results
            if result.clip.words and result.recognized.origin is not None
        ),
        "confidence": confidence.summary(
            confidence.judged(result.clip.text, result.recognized.words)
            for result in corpus.results
            if result.clip.text is not None
        ),
        "partials": counts(partial_errors(corpus)) if shows_partials(corpus) else None,
        "peers": {name: peer_record(corpus, name, ours) for name in corpus.peers},
        "teacher": teacher_record(corpus.results, corpus.teacher, ours) if corpus.teacher is not None else None,
        "against": against_record(corpus, corpus.against) if corpus.against is not None else None,
        "hotwords": hotwords_record(corpus) if corpus.custom else None,
    }


def promises_record(corpus: Corpus, ours: WordErrors) -> dict[str, Any]:
    """The entry `promises` of a corpus."""
    lost, hours = corpus.lost, _hours(corpus)
    return {
        "lost_s": lost.sound,
        "finals_lost": lost.finals,
        "invented": ours.insertions,
        "invented_per_hour": ours.insertions / hours if hours else None,
    }


def _hours(corpus: Corpus) -> float:
    """Of the audio of clips that have a text."""
    return sum(result.recognized.seconds for result in corpus.results if result.clip.text is not None) / 3600


def final_errors(corpus: Corpus) -> WordErrors:
    """The errors of the finals."""
    return errors((result.clip.text, result.recognized.text) for result in corpus.results)


def partial_errors(corpus: Corpus) -> WordErrors:
    """The errors of the last partial before each final."""
    return errors((result.clip.text, result.recognized.partial_text) for result in corpus.results)


def shows_partials(corpus: Corpus) -> bool:
    """Whether any partial was shown."""
    return any(result.recognized.partials for result in corpus.results)


def peer_record(corpus: Corpus, name: str, ours: WordErrors) -> dict[str, Any]:
    """The entry of one of `peers` of a corpus."""
    compute = sum(result.peers[name].compute for result in corpus.results)
    theirs = errors((result.clip.text, result.peers[name].text) for result in corpus.results)
    return {
        "compute_s": compute,
        "rtf": rtf(compute, corpus.audio),
        "ratio_finals": sum(corpus.latency.final_compute.values) / compute,
        "ratio_all": corpus.compute / compute,
        **counts(theirs),
        **difference(ours, theirs),
    }


def teacher_record(results: Sequence[ClipResult], texts: Sequence[str], ours: WordErrors) -> dict[str, Any]:
    """The entry `teacher` of a corpus."""
    theirs = errors((result.clip.text, text) for result, text in zip(results, texts, strict=True))
    return {**counts(theirs), **difference(ours, theirs)}


def against_record(corpus: Corpus, other: Corpus) -> dict[str, Any]:
    """The entry `against` of a corpus."""
    record = {**corpus_record(other), **difference(final_errors(corpus), final_errors(other))}
    if shows_partials(corpus) and shows_partials(other):
        return record | difference(partial_errors(corpus), partial_errors(other), "partials_")
    return record | {"partials_difference": None, "partials_difference_interval": None}


def hotwords_record(corpus: Corpus) -> dict[str, Any]:
    """The entry `hotwords` of a corpus."""
    references = [result.clip.text for result in corpus.results]
    hours = _hours(corpus)

    def part(texts: Iterable[str]) -> dict[str, Any]:
        pairs = list(zip(references, texts, strict=True))
        found = recall(corpus.custom, pairs)
        return {
            **asdict(found),
            "recall": found.recall,
            "false_alarms_per_hour": found.false_alarms / hours if hours else None,
            **counts(errors(pairs)),
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
    loaded. memory: peak of the resident bytes. corpora, peers, noise, realtime: the entries of the record. against: the
    settings of the other side.
    """

    clock: str
    tail: Seconds
    load: Seconds
    memory: int | None
    corpora: list[dict[str, Any]]
    peers: Mapping[str, Any] = field(default_factory=dict)
    against: Mapping[str, Any] = field(default_factory=dict)
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
        "peers": dict(measured.peers),
        "against": dict(measured.against),
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
    hours = totals["seconds"] / 3600
    return {**totals, "words_per_hour": totals["words"] / hours if hours else None, "kinds": kinds}


def details(corpus: Corpus) -> Iterable[dict[str, Any]]:
    """One record a clip, for `--detail`: reference, text, counts, finals with their times, the texts of others.

    lost_s and finals_lost are null in real time, where they are of the whole run.
    """
    for index, result in enumerate(corpus.results):
        clip, recognized = result.clip, result.recognized
        lost = broken(recognized.events) if corpus.broken is None else None
        yield {
            "manifest": corpus.manifest,
            "audio": str(clip.audio),
            "speaker": clip.speaker,
            "reference": clip.text,
            "text": recognized.text,
            **counts(errors([(clip.text, recognized.text)])),
            "audio_s": recognized.seconds,
            "compute_s": recognized.compute,
            "lost_s": lost.sound if lost else None,
            "finals_lost": lost.finals if lost else None,
            "finals": [asdict(final) for final in recognized.finals],
            "peers": {name: {"text": one.text, "compute_s": one.compute} for name, one in result.peers.items()},
            "teacher_text": corpus.teacher[index] if corpus.teacher is not None else None,
            "against_text": corpus.against.results[index].recognized.text if corpus.against else None,
        }
