"""The results of a benchmark, as one JSON object and as a table.

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

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
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
    """How many, p50 and p95."""
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


def record(
    config: Config,
    clock: str,
    tail: Seconds,
    load: Seconds,
    memory: int | None,
    corpora: list[dict[str, Any]],
    *,
    peer: dict[str, Any] | None = None,
    noise: dict[str, Any] | None = None,
    realtime: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The whole record."""
    return {
        "version": VERSION,
        "model": config.model.name,
        "threads": config.model.threads,
        "clock": clock,
        "chunk_s": STEP_S,
        "tail_s": tail,
        "partials": config.partial.enabled,
        "guards": config.decoding.guards,
        "load_s": load,
        "peak_memory_bytes": memory,
        "corpora": corpora,
        "peer": peer,
        "noise": noise,
        "realtime": realtime,
    }


def noise_record(results: Sequence[NoiseResult]) -> dict[str, Any]:
    """The entry `noise`."""
    kinds: dict[str, dict[str, Any]] = {
        r.kind: {"seconds": r.seconds, "words": r.words, "partial_words": r.partial_words, "texts": list(r.texts)}
        for r in results
    }
    totals = {key: sum(kind[key] for kind in kinds.values()) for key in ("words", "partial_words", "seconds")}
    return {**totals, "kinds": kinds}


Row = tuple[str, Callable[[dict[str, Any]], str | None]]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def _p50_p95(values: dict[str, Any]) -> str:
    if not values["n"]:
        return "-"
    return f"{1000 * values['p50']:.0f} / {1000 * values['p95']:.0f} ms ({values['n']})"


def _errors(counted: dict[str, Any]) -> str:
    return f"{counted['substitutions']} / {counted['deletions']} / {counted['insertions']} of {counted['words']}"


def _of(key: str, show: Callable[[dict[str, Any]], str]) -> Callable[[dict[str, Any]], str | None]:
    """A cell of a nested record that may be null; None: no such row."""
    return lambda corpus: show(corpus[key]) if corpus[key] else None


def _hotword_rows() -> list[Row]:
    def cell(key: str, kind: str, show: Callable[[dict[str, Any]], str]) -> Callable[[dict[str, Any]], str | None]:
        def of(corpus: dict[str, Any]) -> str | None:
            measured = corpus["hotwords"] and corpus["hotwords"][key] and corpus["hotwords"][key][kind]
            return show(measured) if measured else None

        return of

    def recalled(part: dict[str, Any]) -> str:
        return f"{_percent(part['recall'])} ({part['found']} of {part['said']})"

    def alarms(part: dict[str, Any]) -> str:
        return f"{part['false_alarms']} ({_number(part['false_alarms_per_hour'], '.1f')} / h)"

    rows: list[Row] = []
    for kind in ("finals", "partials"):
        for title, show in (("custom words found", recalled), ("custom words, false alarms", alarms)):
            rows += [
                (f"{title}, {kind}", cell("with", kind, show)),
                ("  without the list", cell("without", kind, show)),
            ]
        rows.append((f"WER without the list, {kind}", cell("without", kind, lambda part: _percent(part["wer"]))))
    return rows


def _rows(clock: str) -> list[Row]:
    return [
        ("clips", lambda c: f"{c['clips']}, {c['audio_s'] / 60:.1f} min"),
        ("WER", lambda c: _percent(c["wer"])),
        ("  substituted / deleted / inserted", _errors),
        ("CER", lambda c: _percent(c["cer"])),
        ("WER of the last partials", _of("partials", lambda p: _percent(p["wer"]))),
        ("loops", lambda c: f"{c['loops']} clips"),
        ("teacher's WER, full context", _of("teacher", lambda t: _percent(t["wer"]))),
        ("  difference", _of("teacher", lambda t: _number(t["difference"] and 100 * t["difference"], "+.2f"))),
        ("peer's WER", _of("peer", lambda p: _percent(p["wer"]))),
        *_hotword_rows(),
        ("RTF, all computation", lambda c: _number(c["rtf"], ".3f")),
        ("compute, all", lambda c: _number(c["compute_s"], ".2f", " s")),
        ("  partials that were shown", lambda c: _number(c["partials_compute_s"], ".2f", " s")),
        ("  finals", lambda c: _number(c["finals_compute_s"], ".2f", " s")),
        ("peer's compute", _of("peer", lambda p: _number(p["compute_s"], ".2f", " s"))),
        ("  finals / peer", _of("peer", lambda p: _number(p["ratio_finals"], ".2f"))),
        ("  all / peer", _of("peer", lambda p: _number(p["ratio_all"], ".2f"))),
        ("utterances / finals / words", lambda c: f"{c['utterances']} / {c['finals']} / {c['final_words']}"),
        ("first partial, p50 / p95 (n)", lambda c: _p50_p95(c["first_partial"])),
        (f"word emission, {clock} clock", lambda c: _p50_p95(c["word_emission"])),
        ("finalization with hang-over", lambda c: _p50_p95(c["finalization"])),
        ("finalization without", lambda c: _p50_p95(c["finalization_no_hangover"])),
        ("flicker", lambda c: _number(c["flicker"], ".3f")),
        ("  with case and punctuation", lambda c: _number(c["flicker_strict"], ".3f")),
    ]


def table(found: dict[str, Any]) -> str:
    """The record for a person: one column a corpus, then memory, noise and notes."""
    lines = [
        f"model {found['model']}, {found['threads']} threads, {found['clock']} clock, "
        f"partials {'on' if found['partials'] else 'off'}, guards {'on' if found['guards'] else 'off'}",
        "",
    ]
    if found["corpora"]:
        lines += _aligned([["", *(corpus["manifest"] for corpus in found["corpora"])], *_cells(found)])
        lines.append("")
    lines.append(f"loaded in {found['load_s']:.2f} s, peak memory {_megabytes(found['peak_memory_bytes'])}")
    if found["peer"]:
        peer = found["peer"]
        lines.append(
            f"peer {peer['name']} {peer['version']}, {peer['compute_type']}, {found['threads']} threads: "
            f"loaded in {peer['load_s']:.2f} s, peak memory {_megabytes(peer['peak_memory_bytes'])}"
        )
    if found["realtime"]:
        live = found["realtime"]
        lines.append(
            f"real time from {live['device']}: {live['wall_s']:.0f} s, {100 * live['cpu']:.0f} % of one core, "
            f"at most {live['backlog_max_s']:.2f} s behind, {live['overflows']} overflows "
            f"({live['lost_s']:.2f} s lost)"
        )
    if found["noise"]:
        noise = found["noise"]
        kinds = ", ".join(f"{kind} {part['words']}" for kind, part in noise["kinds"].items())
        lines.append(
            f"noise: {noise['words']} words in {noise['seconds']:.0f} s ({kinds}); "
            f"{noise['partial_words']} words shown for a while"
        )
    if found["corpora"]:
        lines += ["", *_notes(found)]
    return "\n".join(lines)


def _notes(found: dict[str, Any]) -> list[str]:
    """Sentences that a reader of the figures needs."""
    notes = [
        "The end of a word is the recognizer's own estimate, from the Final's words.",
        f"{found['tail_s']:.1f} s of silence follow each clip, so that utterances end by themselves.",
    ]
    if found["peer"]:
        notes.append("finals / peer leaves voice activity detection out, which the peer has not; all / peer has it.")
    if found["peer"] and found["partials"]:
        notes.append("Finals check the last partial's text instead of finding it anew; --no-partials has them alone.")
    return notes


def _cells(record: dict[str, Any]) -> list[list[str]]:
    rows = []
    for title, cell in _rows(record["clock"]):
        cells = [cell(corpus) for corpus in record["corpora"]]
        if any(text is not None for text in cells):
            rows.append([title, *(text or "-" for text in cells)])
    return rows


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def _megabytes(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 2**20:.0f} MiB"


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
