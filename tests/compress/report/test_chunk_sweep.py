"""The chunk sweep on a tiny network: what is measured, once, and its table."""

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
from compress.networks.family import family_named
from compress.quantize.plan import EXACT
from compress.report import chunk_sweep
from compress.report.chunk_sweep import LEDGER, ChunkSweep, Variant, table, usual_chunks, variants
from device_asr.audio.format import SAMPLE_RATE
from device_asr.bundle.bundle import load
from device_asr.errors import UsageError
from tests.support.paths import ASSETS
from tests.support.tiny_network import tiny_checkpoint

POSITION = 0.02  # seconds
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


def test_variants_are_every_chunk_with_every_context_and_the_policy_without() -> None:
    found = variants((160, 320), (2.5, 5), (0,), POSITION)
    assert found == [
        Variant(Chunking(8, 125, 0), POSITION),
        Variant(Chunking(16, 125, 0), POSITION),
        Variant(Chunking(8, 250, 0), POSITION),
        Variant(Chunking(16, 250, 0), POSITION),
        Variant(None, POSITION),
    ]
    assert [found[0].title, found[-1].title] == ["160 ms, 2.5 s", "encoded again"]
    assert [variant.title for variant in variants((160,), (5,), (0, 320, 300), POSITION)][:2] == [
        "160 ms, 5 s",
        "160 and 320 ms, 5 s",
    ]
    with pytest.raises(UsageError, match="a multiple of 20 ms, found 150"):
        variants((150,), (5,), (0,), POSITION)
    assert len(variants((160,), (5,), (0, 320, 300), POSITION)) == 3, "up to whole chunks, each way once"


def test_the_usual_chunks_are_whole_positions_of_each_family() -> None:
    for name, wanted in (("whisper", [160, 320, 640]), ("moonshine", [168, 336, 672])):
        position = family_named(name).samples_per_position / SAMPLE_RATE
        chunks = usual_chunks(position)
        assert chunks == pytest.approx(wanted)
        found = variants(chunks, (5,), chunks[1:], position)
        assert [round(1000 * found[k].lengths["chunk"]) for k in range(3)] == wanted
        assert len(found) == 6, "of the longest chunk both look-aheads are one chunk; and the policy without"


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
