"""The benchmark on the audio clock: known events make known figures."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from device_asr.audio.format import SAMPLE_RATE, STEP, STEP_S
from device_asr.bench.memory import peak_memory
from device_asr.bench.promises import Broken, broken
from device_asr.bench.run import recognize
from device_asr.commands.bench import command
from device_asr.config import Config
from device_asr.errors import OutputError, UsageError
from device_asr.events import AudioGap, Final
from device_asr.metrics.clips import ManifestError
from device_asr.recognition import assemble as assembly
from tests.support.scripted import Scripted, corpus, utterance


def test_audio_is_fed_as_a_microphone_would_with_silence_behind_it() -> None:
    recognizer = Scripted([])
    recognize(recognizer, np.zeros(1000, np.float32), tail=0.5)
    assert recognizer.chunks == [STEP] * 17 + [9000 - 17 * STEP]


def test_word_times_are_from_the_beginning_of_the_clip_though_the_audio_clock_goes_on() -> None:
    recognizer = Scripted(utterance(("Hello", 6.1), at=7.0))
    recognizer.time = 5.0
    (word,) = recognize(recognizer, np.zeros(2 * SAMPLE_RATE, np.float32), tail=1.0).words
    assert (word.start, word.end) == (pytest.approx(0.9), pytest.approx(1.1))


def test_the_tail_costs_computation_but_is_not_counted_as_audio() -> None:
    found = recognize(Scripted([], cost=0.001), np.zeros(SAMPLE_RATE, np.float32), tail=1.0)
    assert found.seconds == 1.0 and found.compute >= 0.06


def test_every_figure_of_a_corpus_follows_from_its_events(tmp_path: Path, bench: Callable[..., Result]) -> None:
    script = utterance(("Hello", 1.1), ("word.", 1.5), at=2.2, compute=0.4)
    manifest = corpus(tmp_path, "hello world", "hello world", None)
    result = bench(Scripted(script, script, script, []), manifest, "--json")  # the first is recognized twice: warm-up
    found = json.loads(result.stdout)
    assert (found["clock"], found["tail_s"], found["chunk_s"]) == ("audio", 1.0, STEP_S)
    (measured,) = found["corpora"]
    assert measured["clips"] == 3 and measured["audio_s"] == 6.0
    assert (measured["words"], measured["substitutions"], measured["wer"], measured["loops"]) == (4, 2, 0.5, 0)
    assert measured["finals_compute_s"] == pytest.approx(0.8)
    assert measured["partials_compute_s"] == pytest.approx(0.2)
    assert measured["first_partial"] == {"n": 2, "p50": pytest.approx(0.6), "p95": pytest.approx(0.6)}
    assert measured["word_emission"]["p50"] == pytest.approx((-0.1 + 0.7) / 2)
    assert measured["finalization"]["p50"] == pytest.approx(1.1)
    assert measured["finalization_no_hangover"]["p50"] == pytest.approx(0.4)
    assert measured["flicker"] == 0 and measured["peers"] == {} and measured["teacher"] is measured["against"] is None


def test_word_times_are_compared_with_the_manifests_and_confidence_with_its_texts(
    tmp_path: Path, bench: Callable[..., Result]
) -> None:
    manifest = corpus(tmp_path, "hello world", "hello world")
    entries = [json.loads(line) for line in manifest.read_text().splitlines()]
    entries[0]["words"] = [{"text": "hello", "start": 0.85, "end": 1.05}, {"text": "world", "start": 1.8, "end": 1.9}]
    manifest.write_text("\n".join(json.dumps(entry) for entry in entries))
    script = utterance(("Hello", 1.1), ("world.", 1.5), at=2.2)
    wrong = utterance(("Hello", 1.1), ("word.", 1.5), at=2.2)
    found = json.loads(bench(Scripted(script, script, wrong), manifest, "--json").stdout)
    (measured,) = found["corpora"]
    times = measured["word_times"]
    assert (times["words"], times["matched"], times["before_start"]) == (2, 2, 1), "of the clip that has times"
    assert times["ends"]["p50"] == pytest.approx((0.05 + 0.4) / 2) and times["ends"]["n"] == 2
    assert times["starts"]["bias"] == pytest.approx((0.05 - 0.5) / 2)
    assert (measured["confidence"]["n"], measured["confidence"]["wrong"], measured["confidence"]["auc"]) == (4, 1, 0.5)
    text = bench(Scripted(script, script, wrong), manifest).stdout
    assert "word ends off, p50 / p95, bias" in text and "225 / 382 ms, -175 ms" in text
    assert "1 of 2, 2 known" in text and "0.500 (1 of 4 wrong)" in text


def test_a_final_forced_by_the_end_of_a_clip_is_not_counted_as_finalization(
    tmp_path: Path, bench: Callable[..., Result]
) -> None:
    script = utterance(("Hello", 1.1), at=9.0)
    found = json.loads(bench(Scripted(script, script), corpus(tmp_path, "hello"), "--json", "--tail", 0).stdout)
    (measured,) = found["corpora"]
    assert measured["finals"] == 1 and measured["finalization"]["n"] == 0


def test_the_table_is_plain_aligned_and_says_where_word_ends_come_from(
    tmp_path: Path, bench: Callable[..., Result]
) -> None:
    script = utterance(("Hello", 1.1), at=2.2, compute=0.4)
    text = bench(Scripted(script, script), corpus(tmp_path, "hello")).stdout
    lines = text.splitlines()
    body = lines[2 : lines.index("", 2)]
    assert len({len(line) for line in body}) == 1
    assert any(line.startswith("WER") and line.endswith(" 0.0 %") for line in body)  # one clip has no interval
    assert any(line.startswith("finalization with hang-over") and "1500 / 1500 ms (1)" in line for line in body)
    assert "recognizer's own estimate" in text and "\x1b" not in text
    assert not any(line.startswith(("peer", "teacher")) for line in body)  # rows without a value are left out


def test_details_hold_one_record_a_clip(tmp_path: Path, bench: Callable[..., Result]) -> None:
    script, detail = utterance(("Hello", 1.1), at=2.2), tmp_path / "detail.jsonl"
    bench(Scripted(script, script, []), corpus(tmp_path, "hello", "two words"), "--detail", detail)
    first, second = map(json.loads, detail.read_text().splitlines())
    assert first["text"] == "Hello" and first["wer"] == 0 and first["finals"][0]["words"][0]["end"] == 1.1
    assert second["text"] == "" and second["deletions"] == 2
    assert (first["lost_s"], first["finals_lost"]) == (0, 0) == (second["lost_s"], second["finals_lost"])
    assert not list(tmp_path.glob("*.partial"))


def test_details_print_what_was_lost_and_what_was_invented(tmp_path: Path, bench: Callable[..., Result]) -> None:
    said = utterance(("Hello", 1.1), ("again", 1.5), at=1.8)
    vanished = [event for event in said if not isinstance(event, Final)]
    manifest, detail = corpus(tmp_path, "hello", "hello"), tmp_path / "detail.jsonl"
    script = said, said, [AudioGap(0.2, 0.5), *vanished]  # the first is recognized twice: warm-up
    rows = bench(Scripted(*script), manifest, "--detail", detail).stdout.splitlines()
    found = {row.partition("  ")[0]: row.split("  ")[-1].strip() for row in rows}
    assert found["sound lost"] == "0.5 s" and found["finals lost"] == "1"
    assert found["words invented"] == "1 (900 an hour)"  # one in two clips of 2 s
    assert [json.loads(line)["finals_lost"] for line in detail.read_text().splitlines()] == [0, 1]
    assert "finals lost" not in bench(Scripted(*script), manifest).stdout
    (measured,) = json.loads(bench(Scripted(*script), manifest, "--json").stdout)["corpora"]
    assert measured["promises"] == {"lost_s": 0.5, "finals_lost": 1, "invented": 1, "invented_per_hour": 900.0}


def test_words_that_a_partial_took_back_are_no_lost_final() -> None:
    started, partial, final, ended = utterance(("Hello", 1.1), at=2.0)
    assert broken([started, partial, final, ended]) == Broken(0.0, 0)
    assert broken([started, partial, ended]) == Broken(0.0, 1)
    assert broken([started, partial, replace(partial, text=""), ended]) == Broken(0.0, 0)
    assert broken([started, partial, replace(final, utterance=1), AudioGap(3.0, 0.25)]) == Broken(0.25, 1)


def test_a_detail_file_that_cannot_be_written_is_reported_and_leaves_nothing(
    tmp_path: Path, bench: Callable[..., Result]
) -> None:
    with pytest.raises(OutputError, match="cannot be written: No such file"):
        bench(Scripted([], []), corpus(tmp_path, "hello"), "--detail", tmp_path / "gone" / "detail.jsonl")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="this system has no /dev/full")
def test_a_detail_file_on_a_full_disk_is_reported_and_a_device_stays_a_device(
    tmp_path: Path, bench: Callable[..., Result]
) -> None:
    with pytest.raises(OutputError, match="/dev/full cannot be written: No space left on device"):
        bench(Scripted([], []), corpus(tmp_path, "hello"), "--detail", "/dev/full")
    assert Path("/dev/full").is_char_device()


def test_the_limit_takes_the_first_clips(tmp_path: Path, bench: Callable[..., Result]) -> None:
    found = json.loads(bench(Scripted([], []), corpus(tmp_path, "a", "b"), "--limit", 1, "--json").stdout)
    assert found["corpora"][0]["clips"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Nothing to measure"),
        (["x.jsonl", "x.jsonl"], "given twice"),
        (["x.jsonl", "--device", "y"], "want --realtime"),
        (["x.jsonl", "--realtime", "--peer", "faster-whisper"], "leave out --realtime"),
        (["x.jsonl", "--realtime", "--player", "paplay"], "want a microphone"),
        (["x.jsonl", "--realtime", "--device", "y"], "only where --player"),
        (["--realtime", "--device", "y", "--teacher", "t.jsonl"], "want a MANIFEST"),
    ],
)
def test_combinations_that_mean_nothing_are_usage_errors(
    bench: Callable[..., Result], arguments: list[str], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        bench(Scripted([]), *arguments)


def test_a_missing_clip_is_reported_before_anything_is_measured(tmp_path: Path, bench: Callable[..., Result]) -> None:
    manifest = corpus(tmp_path, "a", "b")
    (tmp_path / "1.wav").unlink()
    with pytest.raises(ManifestError, match=r"clip 2: the audio .*1\.wav is missing"):
        bench(Scripted(), manifest)


def test_measuring_is_silent_on_standard_error_in_a_pipe(tmp_path: Path, bench: Callable[..., Result]) -> None:
    assert bench(Scripted([], []), corpus(tmp_path, "a")).stderr == ""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux keeps the mark of a process apart")
def test_a_small_process_of_a_large_one_is_small() -> None:
    ballast = np.ones(40 * 2**20)  # 320 MiB
    code = "from device_asr.bench.memory import peak_memory; print(peak_memory())"
    small = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert small < 200 * 2**20 < ballast.nbytes <= peak_memory()


def test_finals_alone_make_no_partials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Config] = []

    def make(config: Config) -> Scripted:
        seen.append(config)
        return Scripted([], [])

    monkeypatch.setattr(assembly, "assemble", make)
    CliRunner().invoke(
        command,
        [str(corpus(tmp_path, "a")), "--no-partials", "--guards", "off", "--threads", "1"],
        catch_exceptions=False,
    )
    (config,) = seen
    assert config == replace(
        Config(),
        partial=replace(config.partial, enabled=False),
        decoding=replace(config.decoding, guards=False),
        model=replace(config.model, threads=1),
    )
