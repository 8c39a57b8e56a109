"""From a teacher to a bundle through the command's own entry: what is wrong is one sentence, nothing is half done."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from compress.quantize.plan import QuantizationPlan
from compress.recipe.build import build
from compress.recipe.recipe import Recipe, read_recipe
from compress.report.inputs import gather
from device_asr.bundle.bundle import load
from tests.support.builds import TRAINING, Run, assert_told, build_of, recipe

# -- bad input ---------------------------------------------------------------------------------------------


def test_missing_weights(place: Path, run: Run) -> None:
    path = recipe(place, teacher=str(place / "nowhere"))
    assert_told(place, run(*build_of(place, path)), 1, "nowhere: wanted a CTranslate2 folder")
    (place / "teacher" / "weights.safetensors").unlink()
    assert_told(place, run(*build_of(place, recipe(place))), 1, "wanted a file, found none")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"audio": "0.wav", "duration": 40.0}], "wanted clips of 1 to 29 s in train.jsonl, found none"),
        ([{"audio": "gone.wav", "text": "oh no", "duration": 1.5}], "gone.wav cannot be read: it is missing"),
        ([{"audio": "8k.wav", "text": "oh no", "duration": 1.5}], "8k.wav: wanted 16000 Hz, found 8000 Hz; resample"),
        ([{"audio": "text.wav", "text": "oh no", "duration": 1.5}], "text.wav cannot be read"),
        ([{"text": "oh no"}], 'line 1: wanted "audio" to be the path of an audio file'),
        ([], "has no clip"),
        ([{"audio": "0.wav", "text": "another sentence altogether", "duration": 1.5}], "None of the 1 clips"),
    ],
)
def test_a_corpus_without_a_usable_clip(place: Path, run: Run, rows: list[dict[str, Any]], said: str) -> None:
    soundfile.write(place / "corpus" / "8k.wav", np.zeros(12_000), 8_000)
    (place / "corpus" / "text.wav").write_text("no audio")
    (place / "corpus" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert_told(place, run(*build_of(place, recipe(place, TRAINING))), 1, said)


def test_a_corpus_that_is_not_there(place: Path, run: Run) -> None:
    path = recipe(place, TRAINING)
    assert_told(
        place,
        run("build", "--recipe", path, "--out", place / "out", "--work", place / "work"),
        1,
        "wanted a folder of manifests, found none; give --corpus",
    )
    assert_told(
        place, run(*build_of(place, recipe(place, TRAINING, corpus={"other": 3}))), 1, "other.jsonl does not exist"
    )
    path = recipe(place, {**TRAINING, "evaluate": "dev"})
    assert_told(place, run(*build_of(place, path)), 1, "dev.jsonl does not exist")


def test_a_budget_that_the_network_itself_does_not_hold(place: Path, run: Run) -> None:
    rows = [{"audio": f"{i}.wav", "text": "something else", "duration": 1.5} for i in range(6)]
    (place / "corpus" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = {"do": "lowrank", "energy": 0.9, "wer_budget": 0.01, "activations": False, "clips": 2}
    assert_told(place, run(*build_of(place, recipe(place, table))), 1, "above the budget of 1.00%: nothing can be cut")


def test_a_bundle_does_not_take_the_place_of_other_files(place: Path, run: Run) -> None:
    path = recipe(place)
    (place / "notes.txt").write_text("mine")
    for out in (place, place / "notes.txt"):
        code, said = run("build", "--recipe", path, "--out", out, "--work", place / "work")
        assert (code, "\n" in said) == (2, False)
        assert "wanted a new folder or that of a bundle, which is replaced, found other files" in said
    assert (place / "notes.txt").read_text() == "mine" and not (place / "work").exists()


# -- sensitivity -----------------------------------------------------------------------------------------------


def test_sensitivity_is_a_table_a_file_for_the_report_and_a_plan(place: Path, run: Run) -> None:
    arguments = (
        "sensitivity",
        place / "teacher",
        place / "corpus" / "train.jsonl",
        "--work",
        place / "work",
        "--clips",
        1,
        "--spend",
        5,
        "--recipe",
        recipe(place, quantize={"bits": 4}),
    )
    code, said = run(*arguments)
    assert code == 0, said
    assert said.startswith("WER as planned: 0.00 %") and "| encoder.layers.0.ffn | 32 |" in said
    assert said.endswith('[quantize]\nbits = 4\nembedding = 8\nactivations = "dynamic"'), "nothing gains: nothing spent"
    rows = gather(place / "work", None, None).sensitivity
    assert {"encoder.conv1", "decoder.layers.0.cross"} <= {row.name for row in rows}
    assert all(row.saved_wer == 0 and row.extra_bytes > 0 and row.settings == {"bits": 32} for row in rows)
    kept = (place / "work" / "sensitivity-evaluations.jsonl").read_text()
    (place / "work" / "sensitivity-evaluations.jsonl").write_text(kept[:-9])  # a kill in mid-line
    assert run(*arguments) == (0, said)
    again = (place / "work" / "sensitivity-evaluations.jsonl").read_text()
    assert len(again.splitlines()) == len(kept.splitlines()) + 1, "all but the cut one are not measured again"


def test_sensitivity_without_texts(place: Path, run: Run) -> None:
    (place / "corpus" / "silent.jsonl").write_text(json.dumps({"audio": "0.wav"}) + "\n")
    told = run(
        "sensitivity",
        place / "teacher",
        place / "corpus" / "silent.jsonl",
        "--work",
        place / "work",
        "--recipe",
        recipe(place),
    )
    assert_told(place, told, 1, "Wanted clips with texts to measure WER on, found none")
    assert not (place / "work").exists()


# -- the whole way ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_same_seed_makes_the_same_manifest(place: Path, tmp_path: Path) -> None:
    """In another folder, from nothing: every byte of every file, on one machine with one number of threads.

    Other processors, thread counts or versions of torch round sums in another order: weights then differ in
    their last bits, and the manifest's checksums with them.
    """
    stages = [
        {"do": "magnitude", "amount": 0.5},
        {"do": "heads", "heads": 1, "importance": "taylor"},
        {"do": "distill", "epochs": 2, "batch": 2, "qat": {"bits": 8}, "evaluate": "train", "evaluate_clips": 2},
    ]
    path = recipe(place, *stages, base=True, quantize={"embedding": 4, "embedding_group": 32})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name in ("first", "second"):
            build(
                read_recipe(path),
                tmp_path / name / "tiny",
                tmp_path / f"work-{name}",
                place / "corpus",
                None,
                lambda *line: None,
            )
    finally:
        torch.set_num_threads(threads)
    first, second = ((tmp_path / name / "tiny" / "manifest.json").read_bytes() for name in ("first", "second"))
    assert first == second
    stored = load(str(tmp_path / "first" / "tiny"))
    assert stored.manifest["quantization"]["plan"] == QuantizationPlan(embedding=4, embedding_group=32).to_table()
    rows = gather(tmp_path / "work-first", None, None).stages
    assert [row.name for row in rows] == ["teacher", "magnitude", "heads", "distill", "export"]
    assert rows[-1].bytes == (tmp_path / "first" / "tiny" / "model.pte").stat().st_size
    assert not list(tmp_path.rglob("*.partial"))

    half = tmp_path / "first" / "tiny.base.safetensors"
    assert stored.manifest["base"] == {
        "file": half.name,
        "bytes": half.stat().st_size,
        "sha256": hashlib.sha256(half.read_bytes()).hexdigest(),
    }
    again = replace(read_recipe(path), teacher=str(half), stages=(), base=False)
    build(again, tmp_path / "third" / "tiny", tmp_path / "work-third", None, None, lambda *line: None)
    rows = []
    for name in ("first", "third"):
        table = load(str(tmp_path / name / "tiny")).manifest["programs"]["speech"]["constants"]["table"]
        data = (tmp_path / name / "tiny" / "model.pte").read_bytes()
        rows.append(data[table["offset"] :][: math.prod(table["shape"])])
    assert rows[0] == rows[1], "the embedding of a bundle made from the base is that of the first"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_static_ranges_are_measured_on_the_recipe_s_clips(place: Path, tmp_path: Path) -> None:
    made = replace(
        read_recipe(recipe(place)), quantize={"activations": "static", "layers": [{"name": "decoder.*", "bits": 4}]}
    )
    build(made, tmp_path / "out", tmp_path / "work", place / "corpus", None, lambda *line: None)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["quantization"]["plan"] == QuantizationPlan.from_table(made.quantize).to_table()
    assert set(manifest["quantization"]["bytes"]) == {"4", "8"}
    assert "measured on speech in int8 layers" in (tmp_path / "out" / "CARD.md").read_text()
    assert isinstance(made, Recipe) and manifest["parity"]["encode"]["pte_vs_quantized_rms"] < 0.05
