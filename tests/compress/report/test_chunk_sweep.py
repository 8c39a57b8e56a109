"""The chunk sweep and the cost by utterance length, on a tiny network; speech without a pause."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from compress.checkpoints import own
from compress.cli import group
from compress.evaluate.measurement import Measurement, read_rows
from compress.networks.checkpoint import Checkpoint
from compress.networks.chunking import Chunking
from compress.quantize.plan import EXACT
from compress.report import chunk_sweep, cost_by_length
from compress.report.chunk_sweep import LEDGER, ChunkSweep, Variant, table, variants
from device_asr.bench.continuous import Mark, cost, feed, joined, memory, trimmed, without_pauses
from device_asr.bench.timed import timed_recognizer
from device_asr.bundle.bundle import load
from device_asr.commands.soak import command as soak
from device_asr.config import load as load_config
from device_asr.errors import DeviceAsrError, UsageError
from device_asr.metrics.clips import Clip
from tests.support.paths import ASSETS
from tests.support.tiny_network import SECOND, tiny_checkpoint

TIMER = ASSETS / "timer.flac"
ROW = Measurement(
    "320 and 320 ms, 5 s",
    key="00ff",
    settings={"chunk": 0.32, "look_ahead": 0.32, "left_context": 5.0},
    test_set="dev",
    clips=50,
    words=1050,
    partial_wer=0.21,
    wer=0.148,
    emission_p50=0.42,
    emission_p95=1.1,
    first_partial=0.48,
    flicker=0.11,
    partial_rtf=0.0612,
    chunk_compute=0.0085,
)


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return soundfile.read(TIMER, dtype="float32")[0]


@pytest.fixture(scope="module")
def checkpoint(speech: np.ndarray) -> Checkpoint:
    return tiny_checkpoint(speech)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "dev.jsonl"
    path.write_text(json.dumps({"audio": str(TIMER), "text": "set a timer"}) + "\n")
    return path


def clip() -> Clip:
    return Clip(TIMER, "set a timer", None, 2.848)


def test_variants_are_every_chunk_with_every_context_and_the_policy_without() -> None:
    found = variants((160, 320), (2.5, 5), (0,))
    assert found == [
        Variant(Chunking(8, 125, 0)),
        Variant(Chunking(16, 125, 0)),
        Variant(Chunking(8, 250, 0)),
        Variant(Chunking(16, 250, 0)),
        Variant(None),
    ]
    assert [found[0].title, found[-1].title] == ["160 ms, 2.5 s", "encoded again"]
    assert [variant.title for variant in variants((160,), (5,), (0, 320, 300))][:2] == [
        "160 ms, 5 s",
        "160 and 320 ms, 5 s",
    ]
    with pytest.raises(UsageError, match="a multiple of 20 ms, found 150"):
        variants((150,), (5,), (0,))
    assert len(variants((160,), (5,), (0, 320, 300))) == 3, "up to whole chunks, each way once"


def test_each_variant_is_measured_once_and_put_into_a_file(
    checkpoint: Checkpoint, bundle: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.save(checkpoint, tmp_path)
    (tmp_path / "tiny.toml").write_text('name = "tiny"\nteacher = "none"\n[quantize]\nbits = 32\nembedding = 32\n')
    (tmp_path / "README.md").write_text("<!-- chunk-sweep -->\n<!-- /chunk-sweep -->\n")
    arguments = [
        "chunk-sweep",
        "--checkpoint",
        str(tmp_path),
        "--recipe",
        str(tmp_path / "tiny.toml"),
        "--model",
        str(bundle),
        "--manifest",
        str(manifest),
        "--work",
        str(tmp_path / "work"),
        "--chunk",
        "160",
        "--look-ahead",
        "160",
        "--left-context",
        "1",
        "--readme",
        str(tmp_path / "README.md"),
    ]
    first = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert first.exit_code == 0 and "| 160 | 160 | 1 |" in first.output and "| encoded again |  | all |" in first.output
    assert first.output.strip() in (tmp_path / "README.md").read_text()
    encoded_once, again = read_rows(tmp_path / "work" / LEDGER)
    assert encoded_once.settings == {"chunk": 0.16, "look_ahead": 0.16, "left_context": 1.0} and not again.settings
    assert encoded_once.words == again.words == 3 and encoded_once.partial_wer and again.wer
    assert 0 < encoded_once.chunk_compute < encoded_once.partial_rtf * 2.848 and again.chunk_compute is None
    assert encoded_once.first_partial < again.first_partial, "an update for each chunk"
    monkeypatch.setattr(chunk_sweep, "export_stream", lambda *given: pytest.fail("it was measured before"))
    assert CliRunner().invoke(group, arguments, catch_exceptions=False).output == first.output


def test_a_bundle_of_another_network_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Wanted the bundle that was made of this checkpoint"):
        ChunkSweep(checkpoint, EXACT, load("en-tiny"), 1, tmp_path, lambda *values: None)


def test_the_table_has_a_part_a_manifest_and_a_line_a_row() -> None:
    again = Measurement("encoded again", test_set="dev", clips=50, words=1050, wer=0.148, partial_rtf=0.1)
    other = replace(ROW, test_set="other", clips=1, words=3)
    text = table([ROW, again, other], "1 thread(s) of a toy", "device-asr-compress chunk-sweep")
    assert "dev (50 clips, 1050 words):" in text and "other (1 clips, 3 words):" in text
    assert "| 320 | 320 | 5 | 21.0 | 14.8 | 420 / 1100 | 480 | 11.0 | 0.061 | 8.5 |" in text.splitlines()
    assert "| encoded again |  | all | - | 14.8 | - / - | - | - | 0.100 | - |" in text.splitlines()
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1


# -- speech without a pause --------------------------------------------------------------------------


def test_clips_are_joined_without_their_quiet_edges(speech: np.ndarray, tmp_path: Path) -> None:
    wide = np.concatenate([np.zeros(SECOND, np.float32), speech, np.zeros(SECOND, np.float32)])
    assert len(trimmed(wide)) <= len(speech) and np.abs(trimmed(wide)[:512]).max() > 0
    audio = np.concatenate(list(joined([clip()], 10.0)))
    assert len(audio) == 10 * SECOND
    assert np.array_equal(audio[: 2 * len(trimmed(speech))], np.tile(trimmed(speech), 2))
    soundfile.write(tmp_path / "silence.wav", np.zeros(SECOND, np.float32), SECOND)
    with pytest.raises(DeviceAsrError, match="Nothing is heard"):
        list(joined([Clip(tmp_path / "silence.wav", None, None, 1.0)], 10.0))


def test_cost_is_counted_between_edges_and_memory_after_the_warm_up() -> None:
    marks = [
        Mark(float(at), 0.1 * at + (0.1 * (at - 5) if at > 5 else 0), 0.05 * at, 1_000_000 + 1000 * at, at)
        for at in range(1, 11)
    ]
    first, second = cost(marks, (5, 10))
    assert (first["from"], first["to"], second["from"], second["to"]) == (0, 5, 5, 10)
    assert first["partials"] == pytest.approx(0.1) and second["partials"] == pytest.approx(0.2)
    assert second["stream"] == pytest.approx(0.05)
    assert len(cost(marks, (5, 10, 20))) == 2, "there is no audio up to 20 s"
    assert memory(marks)["slope_bytes_per_hour"] == pytest.approx(3_600_000)
    assert memory(marks)["first_bytes"] == 1_003_000
    with pytest.raises(DeviceAsrError, match="Too little audio"):
        memory(marks[:2])


def test_speech_without_a_pause_ends_utterances_by_their_length_alone(bundle: Path) -> None:
    flags = {"model.name": str(bundle), "model.threads": 1, "endpoint.longest_utterance_s": 5.0}
    timed = timed_recognizer(load(str(bundle)), without_pauses(load_config(environ={}, flags=flags).config))
    marks = list(feed(timed, [clip()], 12.0))
    assert [mark.at for mark in marks] == [float(at) for at in range(1, 13)]
    assert 0 < marks[-1].stream < marks[-1].partials
    assert marks[3].words == 0 < marks[-1].words, "finals come after 5 s, and before the end"
    assert len(timed.chunks) >= 12 / 0.16


def test_soak_feeds_the_recognizer_alone_and_tells_the_slope(bundle: Path, manifest: Path) -> None:
    arguments = ["--fed", str(manifest), "--minutes", "0.2", "--model", str(bundle), "--threads", "1"]
    found = json.loads(CliRunner().invoke(soak, [*arguments, "--json"], catch_exceptions=False).output)
    assert found["partials_mode"] == "stream" and 0 < found["partials_rtf"] < 1
    kept = found["memory"]
    assert 5e7 < kept["first_bytes"] <= kept["max_bytes"] and "slope_bytes_per_hour" in kept
    text = CliRunner().invoke(soak, arguments, catch_exceptions=False).output
    assert "memory slope" in text and "0.2 min of speech without a pause" in text
    assert isinstance(CliRunner().invoke(soak, [*arguments, "--audio", "x.wav"]).exception, UsageError)


def test_the_figure_shows_both_policies(bundle: Path, manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "cost-by-length.svg"
    found = CliRunner().invoke(
        group,
        ["cost-by-length", str(manifest), "--model", str(bundle), "--seconds", "10", "--out", str(out)],
        catch_exceptions=False,
    )
    assert found.exit_code == 0, found.output
    data = json.loads(out.with_suffix(".json").read_text())
    assert [row["to"] for row in data["policies"]["reencode"]] == [5, 10]
    assert all(0 < row["stream"] < row["partials"] for row in data["policies"]["stream"])
    svg = out.read_text()
    assert all(title in svg for title in cost_by_length.TITLES.values())


def test_a_model_without_the_stream_has_no_figure(tmp_path: Path, bundle: Path, manifest: Path) -> None:
    config = load_config(environ={}).config
    opened = load(str(bundle))
    methods = dict(opened.manifest["programs"]["speech"]["methods"])
    del methods["stream"]
    without = {
        **opened.manifest,
        "programs": {
            **opened.manifest["programs"],
            "speech": {**opened.manifest["programs"]["speech"], "methods": methods},
        },
    }
    with pytest.raises(UsageError, match="Wanted a model with the method stream"):
        cost_by_length.measure(type(opened)(opened.path, without), config, [clip()], (5,), lambda mode, mark: None)
