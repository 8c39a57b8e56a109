"""The record of a benchmark as a table for a person."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Row = tuple[str, Callable[[dict[str, Any]], str | None]]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _wer(counted: dict[str, Any]) -> str:
    """The rate and its interval, such as "15.7 % (13.1-18.6)"."""
    interval = counted["wer_interval"]
    spread = f" ({100 * interval[0]:.1f}-{100 * interval[1]:.1f})" if interval else ""
    return _percent(counted["wer"]) + spread


def _difference(counted: dict[str, Any], prefix: str = "") -> str | None:
    """Percentage points with their interval, and what the interval says; None: no row."""
    value, interval = counted[f"{prefix}difference"], counted[f"{prefix}difference_interval"]
    if value is None:
        return None
    if interval is None:
        return f"{100 * value:+.1f}"
    low, high = interval
    verdict = "better" if high < 0 else "worse" if low > 0 else "undecided"
    return f"{100 * value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}), {verdict}"


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def _p50_p95(values: dict[str, Any]) -> str:
    if not values["n"]:
        return "-"
    return f"{1000 * values['p50']:.0f} / {1000 * values['p95']:.0f} ms ({values['n']})"


def _off(side: str) -> Callable[[dict[str, Any]], str | None]:
    """Amounts of the errors of word times and their bias, such as "35 / 99 ms (31-40), +16 ms"."""

    def cell(times: dict[str, Any]) -> str | None:
        found = times[side]
        if found is None:
            return None
        interval = found["p50_interval"]
        spread = f" ({1000 * interval[0]:.0f}-{1000 * interval[1]:.0f})" if interval else ""
        return f"{1000 * found['p50']:.0f} / {1000 * found['p95']:.0f} ms{spread}, {1000 * found['bias']:+.0f} ms"

    return cell


def _means(found: dict[str, Any]) -> str:
    return f"{_number(found['right_mean'], '.2f')} / {_number(found['wrong_mean'], '.2f')}"


def _confidence(found: dict[str, Any]) -> str:
    return f"{_number(found['auc'], '.3f')} ({found['wrong']} of {found['n']} wrong)"


def _errors(counted: dict[str, Any]) -> str:
    found = f"{counted['substitutions']} / {counted['deletions']} / {counted['insertions']} of {counted['words']}"
    return f"{found}, {_percent(counted['deletions'] / counted['words'])} deleted" if counted["words"] else found


def _of(key: str, show: Callable[[dict[str, Any]], str | None]) -> Callable[[dict[str, Any]], str | None]:
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
        rows.append((f"WER without the list, {kind}", cell("without", kind, _wer)))
    return rows


def _peer_rows(name: str) -> list[Row]:
    def cell(show: Callable[[dict[str, Any]], str | None]) -> Callable[[dict[str, Any]], str | None]:
        return lambda corpus: show(corpus["peers"][name]) if name in corpus["peers"] else None

    return [
        (f"WER of {name}", cell(_wer)),
        ("  substituted / deleted / inserted", cell(_errors)),
        (f"  ours less {name}'s", cell(_difference)),
        (f"compute of {name}", cell(lambda p: _number(p["compute_s"], ".2f", " s"))),
        ("  finals / peer", cell(lambda p: _number(p["ratio_finals"], ".2f"))),
        ("  all / peer", cell(lambda p: _number(p["ratio_all"], ".2f"))),
    ]


def _promise_rows() -> list[Row]:
    """What the product promises: no sound and no final lost; how many words it invents."""

    def invented(promises: dict[str, Any]) -> str:
        return f"{promises['invented']} ({_number(promises['invented_per_hour'], '.0f')} an hour)"

    return [
        ("sound lost", _of("promises", lambda p: _number(p["lost_s"], ".1f", " s"))),
        ("finals lost", _of("promises", lambda p: str(p["finals_lost"]))),
        ("words invented", _of("promises", invented)),
    ]


def _rows(clock: str, peers: Iterable[str], promises: bool) -> list[Row]:
    return [
        ("clips", lambda c: f"{c['clips']}, {c['audio_s'] / 60:.1f} min"),
        ("WER", _wer),
        ("  substituted / deleted / inserted", _errors),
        ("  less that of --against", _of("against", _difference)),
        ("CER", lambda c: _percent(c["cer"])),
        ("WER of the last partials", _of("partials", _wer)),
        ("  substituted / deleted / inserted", _of("partials", _errors)),
        ("  less that of --against", _of("against", lambda a: _difference(a, "partials_"))),
        ("loops", lambda c: f"{c['loops']} clips"),
        ("teacher's WER, full context", _of("teacher", _wer)),
        ("  substituted / deleted / inserted", _of("teacher", _errors)),
        ("  ours less the teacher's", _of("teacher", _difference)),
        *_hotword_rows(),
        ("RTF, all computation", lambda c: _number(c["rtf"], ".3f")),
        ("compute, all", lambda c: _number(c["compute_s"], ".2f", " s")),
        ("  partials that were shown", lambda c: _number(c["partials_compute_s"], ".2f", " s")),
        ("  finals", lambda c: _number(c["finals_compute_s"], ".2f", " s")),
        *(row for name in peers for row in _peer_rows(name)),
        ("utterances / finals / words", lambda c: f"{c['utterances']} / {c['finals']} / {c['final_words']}"),
        ("first partial, p50 / p95 (n)", lambda c: _p50_p95(c["first_partial"])),
        (f"word emission, {clock} clock", lambda c: _p50_p95(c["word_emission"])),
        ("finalization with hang-over", lambda c: _p50_p95(c["finalization"])),
        ("finalization without", lambda c: _p50_p95(c["finalization_no_hangover"])),
        ("word ends off, p50 / p95, bias", _of("word_times", _off("ends"))),
        ("word starts off, p50 / p95, bias", _of("word_times", _off("starts"))),
        (
            "words that end before their start",
            _of("word_times", lambda t: f"{t['before_start']} of {t['matched']}, {t['words']} known"),
        ),
        ("confidence, AUC", _of("confidence", _confidence)),
        ("  mean of right / of wrong words", _of("confidence", _means)),
        ("  calibration error", _of("confidence", lambda c: _number(c["calibration_error"], ".3f"))),
        ("flicker", lambda c: _number(c["flicker"], ".3f")),
        ("  with case and punctuation", lambda c: _number(c["flicker_strict"], ".3f")),
        *(_promise_rows() if promises else ()),
    ]


def table(found: dict[str, Any], promises: bool = False) -> str:
    """The record for a person: one column a corpus, then memory, noise and notes.

    Args:
        promises: with rows of what was lost and what was invented.
    """
    lines = [
        f"model {found['model']}, {found['threads']} threads, {found['clock']} clock, "
        f"partials {'on' if found['partials'] else 'off'}, guards {'on' if found['guards'] else 'off'}",
        "",
    ]
    if found["corpora"]:
        lines += _aligned([["", *(title for title, _ in _columns(found))], *_cells(found, promises)])
        lines.append("")
    lines.append(f"loaded in {found['load_s']:.2f} s, peak memory {_megabytes(found['peak_memory_bytes'])}")
    for name, peer in found["peers"].items():
        lines.append(
            f"peer {name} {peer['version']}, {peer['compute_type']}, {found['threads']} threads: "
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
            f"noise: {noise['words']} words in {noise['seconds']:.0f} s, "
            f"{_number(noise['words_per_hour'], '.0f')} an hour ({kinds}); "
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
    if any(corpus["wer_interval"] for corpus in found["corpora"]):
        notes.append("Intervals hold 95 % of 10000 bootstrap draws of the clips; differences are in percentage points.")
    if found["against"]:
        settings = ", ".join(f"{key}={value}" for key, value in found["against"].items())
        notes.append(f"--against: the same clips with {settings}, recognized after ours in the same process.")
    if found["peers"]:
        notes.append("finals / peer leaves voice activity detection out, which the peer has not; all / peer has it.")
    if found["peers"] and found["partials"]:
        notes.append("Finals check the last partial's text instead of finding it anew; --no-partials has them alone.")
    return notes


def _columns(record: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The title and the entry of each column: a corpus, and behind it the other side of `--against`."""
    columns = []
    for corpus in record["corpora"]:
        columns.append((corpus["manifest"], corpus))
        if corpus["against"]:
            columns.append(("--against", corpus["against"]))
    return columns


def _cells(record: dict[str, Any], promises: bool) -> list[list[str]]:
    rows = []
    for title, cell in _rows(record["clock"], record["peers"], promises):
        cells = [cell(corpus) for _, corpus in _columns(record)]
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
