"""From a teacher to a bundle through the command's own entry: what is wrong is one sentence, nothing is half done."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from compress import cli
from compress.checkpoints import own
from compress.export.export import SpeechProgram
from compress.networks.checkpoint import Checkpoint
from compress.networks.chunking import Chunking
from compress.networks.dims import LayerDims
from compress.networks.whisper.dims import WhisperDims
from compress.quantize.plan import QuantizationPlan
from compress.quantize.plan import report as quantized
from compress.recipe.build import build
from compress.recipe.bundle import write_bundle
from compress.recipe.card import write_card
from compress.recipe.recipe import Recipe, read_recipe
from compress.report.inputs import gather
from device_asr.bundle.bundle import load
from device_asr.errors import OutputError, UsageError
from tests.support.paths import ROOT
from tests.support.speaking_teacher import BYTES, speaking

RATE = 16_000
DIMS = WhisperDims(
    n_mels=8,
    state=32,
    head_dim=16,
    audio_ctx=1500,
    text_ctx=448,
    vocab=260,
    encoder=(LayerDims(2, 64),),
    decoder=(LayerDims(2, 64, 2),),
)
Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def teacher() -> Checkpoint:
    return speaking(DIMS, BYTES, b" oh no.")


@pytest.fixture
def place(teacher: Checkpoint, tmp_path: Path) -> Path:
    """A folder with a teacher and a corpus of six clips."""
    own.save(teacher, tmp_path / "teacher")
    rng, rows = np.random.default_rng(0), []
    (tmp_path / "corpus").mkdir()
    for i in range(6):
        soundfile.write(tmp_path / "corpus" / f"{i}.wav", rng.normal(0, 0.1, int(1.5 * RATE)), RATE)
        rows.append({"audio": f"{i}.wav", "text": "oh no", "duration": 1.5})
    (tmp_path / "corpus" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def recipe(place: Path, *stages: dict[str, Any], **values: Any) -> Path:
    """The recipe of a file, its stages as inline tables."""

    def toml(value: Any) -> str:
        if isinstance(value, list):
            return f"[{', '.join(map(toml, value))}]"
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + "}"
        return json.dumps(value)

    values = {"name": "tiny", "teacher": str(place / "teacher"), "corpus": {"train": "all"}, **values}
    path = place / "recipe.toml"
    path.write_text(
        "\n".join(f"{key} = {toml(value)}" for key, value in values.items())
        + f"\nstages = [{', '.join(map(toml, stages))}]\n"
    )
    return path


TRAINING = {"do": "distill", "epochs": 1, "batch": 2, "cut": 0.0}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command as the shell does; its exit code and what it said on stderr, or on stdout where that is all."""

    def call(*arguments: Any) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["device-asr-compress", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capsys.readouterr()
        return code, err.strip() or out.strip()

    return call


def build_of(place: Path, path: Path, *more: Any) -> tuple[Any, ...]:
    return (
        "build",
        "--recipe",
        path,
        "--out",
        place / "out",
        "--work",
        place / "work",
        "--corpus",
        place / "corpus",
        *more,
    )


def assert_told(place: Path, told: tuple[int, str], code: int, said: str) -> None:
    """One sentence and an exit code; no bundle, and no stage that seems whole."""
    assert told[0] == code, told
    assert said in told[1] and "\n" not in told[1] and "Traceback" not in told[1], told[1]
    assert not (place / "out").exists()
    assert not list((place / "work").glob("*/checkpoint.json")) if (place / "work").exists() else True


# -- bad input ---------------------------------------------------------------------------------------------


def test_missing_weights(place: Path, run: Run) -> None:
    path = recipe(place, teacher=str(place / "nowhere"))
    assert_told(place, run(*build_of(place, path)), 1, "nowhere: wanted a CTranslate2 folder")
    (place / "teacher" / "weights.safetensors").unlink()
    assert_told(place, run(*build_of(place, recipe(place))), 1, "found something broken")


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


def test_a_stage_may_take_the_plan_of_its_recipe() -> None:
    plan = {"bits": 4, "group": 32}
    recipe = Recipe(
        "a",
        "tiny.en",
        stages=[
            {"do": "gptq", "plan": "quantize"},
            {"do": "distill", "qat": "quantize"},
            {"do": "distill", "qat": {"bits": 8}},
            {"do": "average", "trainings": [{"qat": "quantize"}, {}]},
        ],
        quantize=plan,
    )
    assert recipe.stages[-1]["trainings"] == [{"qat": plan}, {}]
    assert [table.get("plan", table.get("qat")) for table in recipe.stages[:3]] == [plan, plan, {"bits": 8}]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"do": "magnitude", "amount": 1.0}, "prune.amount: wanted a share in [0, 1), found 1.0"),
        ({"do": "heads", "amount": -0.1}, "heads.amount: wanted a share in [0, 1), found -0.1"),
        ({"do": "ffn", "amount": 1}, "ffn.amount: wanted a share in [0, 1), found 1"),
        ({"do": "ffn", "ffn": 60}, "ffn: wanted a multiple of 8, found 60"),
        ({"do": "ffn", "ffn": 72}, "wanted at most the 64 that it has, found 72"),
        ({"do": "heads", "heads": 3}, "wanted at most the 2 that it has, found 3"),
        ({"do": "layers", "layers": 2}, "wanted at most the 1 that it has, found 2"),
        ({"do": "narrow", "state": 40}, "wanted at most the 32 that it has, found 40"),
        ({"do": "lowrank", "rank": 64}, "wanted at most 24, the rank of encoder.conv1, found 64"),
        ({"do": "lowrank", "energy": 1.5}, "lowrank.energy: wanted a share in (0, 1], found 1.5"),
        ({"do": "lowrank", "energy": 0.9, "wer_budget": 15}, "wanted a share in [0, 1) such as 0.15, found 15"),
        ({**TRAINING, "evaluate": "train", "wer_budget": -1}, "wanted a share in [0, 1) such as 0.15, found -1"),
        (
            {"do": "magnitude", "amount": 0.5, "layers": ["encoder.layer"]},
            "'encoder.layer' matches no layer; the nearest is 'encoder.layers'.",
        ),
        ({"do": "lowrank", "rank": 8, "layers": "encoder.layers.0.fnn.up"}, "the nearest is 'encoder.layers.0.ffn.up'"),
        ({"do": "distill", "only": "encodr.*"}, "'encodr.*' matches no weight; the nearest is 'encoder.*'"),
        ({"do": "magnitude", "amount": "half"}, "stage magnitude: wanted amount to be a number, found 'half'"),
        ({"do": "lowrank", "rank": 8.0}, "stage lowrank: wanted rank to be a whole number, found 8.0"),
        ({"do": "distill", "epochs": True}, "wanted epochs to be a whole number, found True"),
        ({"do": "distill", "augment": {"noise": "much"}}, "distill.augment: wanted noise to be a number, found 'much'"),
        ({"do": "distill", "streaming": {"sizes": 8}}, "wanted sizes to be a list, each a whole number, found 8"),
        ({"do": "vocabulary", "size": 100}, "Vocabulary size: wanted 256 to 256 tokens, found 100"),
        ({"do": "gptq"}, "stage gptq: wanted settings of plan, clips, ridge, found no plan"),
        ({"do": "gptq", "plan": {"bits": 5}}, "Weight bits: wanted 4, 8 or 32, found 5"),
        ({"do": "gptq", "plan": "quantise"}, "wanted plan to be a table, found 'quantise'"),
        (
            {"do": "gptq", "plan": {"bits": 4, "group": 32}, "clips": 0},
            "gptq.clips: wanted a whole number of at least 1",
        ),
        ({"do": "distil"}, "did you mean 'distill'"),
        ({"do": "distill", "epoch": 3}, "found 'epoch'; did you mean 'epochs'"),
        ({**TRAINING, "qat": {"bits": 3}}, "wanted 4, 8 or 32, found 3"),
    ],
)
def test_settings_that_cannot_be(place: Path, run: Run, table: dict[str, Any], said: str) -> None:
    assert_told(place, run(*build_of(place, recipe(place, table))), 2, said)


def test_a_budget_that_the_network_itself_does_not_hold(place: Path, run: Run, teacher: Checkpoint) -> None:
    rows = [{"audio": f"{i}.wav", "text": "something else", "duration": 1.5} for i in range(6)]
    (place / "corpus" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = {"do": "lowrank", "energy": 0.9, "wer_budget": 0.01, "activations": False, "clips": 2}
    assert_told(place, run(*build_of(place, recipe(place, table))), 1, "above the budget of 1.00%: nothing can be cut")


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"bits": 7}, "Weight bits: wanted 4, 8 or 32, found 7"),
        ({"bit": 8}, "quantize: no setting 'bit'; the nearest is bits"),
        ({"layers": [{"name": "encoder.layers.0.fnn.up", "bits": 4}]}, "the nearest is 'encoder.layers.0.ffn.up'"),
    ],
)
def test_a_plan_that_cannot_be(place: Path, run: Run, plan: dict[str, Any], said: str) -> None:
    path = recipe(place, name="tiny", quantize=plan)
    assert_told(place, run(*build_of(place, path)), 2, said)


def test_a_recipe_that_cannot_be_read(place: Path, run: Run) -> None:
    assert_told(place, run(*build_of(place, place / "none.toml")), 2, "none.toml cannot be read")
    (place / "broken.toml").write_text("name = ")
    assert_told(place, run(*build_of(place, place / "broken.toml")), 2, "broken.toml cannot be read")
    (place / "odd.toml").write_text('name = "x"\nteacher = "y"\ncolor = 3\n')
    assert_told(place, run(*build_of(place, place / "odd.toml")), 2, "color")
    (place / "list.toml").write_text('name = "x"\nteacher = "y"\nstages = ["ctc"]\n')
    assert_told(place, run(*build_of(place, place / "list.toml")), 2, "wanted stages to be a list, each a table")
    (place / "flag.toml").write_text('name = "x"\nteacher = "y"\n[corpus]\ntrain = true\n')
    assert_told(place, run(*build_of(place, place / "flag.toml")), 2, 'wanted a number of clips or "all", found True')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[quantise]\nbits = 8", "'quantise' is called 'quantize' now; change the name"),
        ("[stream]\nahead = 2", "Recipe, stream: 'ahead' is called 'look_ahead' now"),
        ("[stream]\nleft = 2", "Recipe, stream: 'left' is called 'left_context' now"),
        ('[[stages]]\ndo = "round"', "'round' is called 'gptq' now"),
        ('[[stages]]\ndo = "lowrank"\nrounds = 3', "Recipe, stage lowrank: 'rounds' is called 'steps' now"),
        ('[[stages]]\ndo = "distill"\nstreaming = { left = [1, 2] }', "'left' is called 'left_context' now"),
        ('[[stages]]\ndo = "distill"\nstreaming = { ahead = [1] }', "'ahead' is called 'look_ahead' now"),
        ('[[stages]]\ndo = "distill"\nstreaming = { steady = true }', "'steady' is called 'regularize_whole' now"),
    ],
)
def test_an_old_name_is_answered_with_the_new_one(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "old.toml").write_text(f'name = "x"\nteacher = "y"\n{text}\n')
    with pytest.raises(UsageError, match=re.escape(said)):
        read_recipe(tmp_path / "old.toml")


def test_a_bundle_does_not_take_the_place_of_other_files(place: Path, run: Run) -> None:
    path = recipe(place)
    (place / "notes.txt").write_text("mine")
    for out in (place, place / "notes.txt"):
        code, said = run("build", "--recipe", path, "--out", out, "--work", place / "work")
        assert (code, "\n" in said) == (2, False)
        assert "wanted a new folder or that of a bundle, which is replaced, found other files" in said
    assert (place / "notes.txt").read_text() == "mine" and not (place / "work").exists()


# -- a full disk, a kill -------------------------------------------------------------------------------------


@contextmanager
def full_disk(size: int = 60_000) -> Iterator[None]:
    """Files end at `size` bytes: the kernel refuses what a full disk would, with another number.

    Ended before the test is, or the runner could not write its own output to a file either.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"do": "heads", "heads": 1}, "weights.safetensors cannot be written"),
        ({**TRAINING, "save_every": 1e-6}, "state.pt cannot be written"),
    ],
)
def test_a_full_disk(place: Path, run: Run, table: dict[str, Any], said: str) -> None:
    path = recipe(place, table)
    with full_disk():
        told = run(*build_of(place, path))
    assert_told(place, told, 1, said)
    assert "make room and run again" in told[1]
    assert not list((place / "work").rglob("*.partial")) and not list((place / "work").rglob("*.safetensors"))


@pytest.mark.parametrize("size", [2_000, 60_000])  # in the program, in the base after it
def test_a_bundle_that_does_not_fit_leaves_nothing_and_the_former_one(
    teacher: Checkpoint, tmp_path: Path, size: int
) -> None:
    speech, path = SpeechProgram(b"x" * 50_000, {}, {}, {}), tmp_path / "models" / "tiny"
    made = Recipe("tiny", "nowhere", base=True)
    write_bundle(made, teacher, speech, b"vad", path)
    before = {file: file.read_bytes() for file in path.parent.rglob("*") if file.is_file()}
    assert {file.name for file in before} >= {"tiny.base.safetensors", "model.pte", "manifest.json"}
    with full_disk(size), pytest.raises(OutputError, match=r"tiny\S* cannot be written .*make room and run again"):
        write_bundle(made, teacher, speech, b"vad", path)
    assert {file: file.read_bytes() for file in path.parent.rglob("*") if file.is_file()} == before


def test_a_build_that_is_killed_goes_on(place: Path, run: Run) -> None:
    """SIGKILL in mid-training leaves no stage that seems whole; the same command goes on after the last saved step."""
    path = recipe(place, {"do": "heads", "heads": 1}, {**TRAINING, "epochs": 1000, "save_every": 1e-6})
    command = [sys.executable, "-c", "from compress.cli import main; main()", *map(str, build_of(place, path))]
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as running:
        deadline = time.monotonic() + 240
        while not any(len(file.read_bytes().splitlines()) > 3 for file in place.glob("work/distill-*/metrics.jsonl")):
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(running.pid, signal.SIGKILL)
    (folder,) = (place / "work").glob("distill-*")
    assert not (folder / "checkpoint.json").exists() and not (place / "out").exists()
    step = torch.load(folder / "state.pt", weights_only=True)["step"]
    before = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)[:step]

    steps: list[int] = []

    class Enough(Exception):
        pass

    def stop(stage: str, fraction: float | None, note: str) -> None:
        if stage == "distill" and fraction:
            steps.append(round(fraction * 3000))
            if len(steps) == 2:
                raise Enough

    with pytest.raises(Enough):
        build(read_recipe(path), place / "out", place / "work", place / "corpus", None, stop)
    assert steps == [step + 1, step + 2] and step > 1
    assert (folder / "metrics.jsonl").read_text().startswith("".join(before))


# -- what is told of a plan ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (
            QuantizationPlan(),
            "Linear layers: int8 with a scale a row; token embedding: int8 with a scale a row; int8 "
            "activations with ranges of each token; matrices by width: 0.04 MB int8.",
        ),
        (
            QuantizationPlan(32, embedding=32),
            "Linear layers: fp32; token embedding: fp32; matrices by width: 0.13 MB fp32.",
        ),
        (
            QuantizationPlan(
                4, 32, layers=QuantizationPlan.from_table({"layers": [{"name": "encoder.conv1", "bits": 32}]}).layers
            ),
            "Linear layers: int4 with a scale every 32 columns as a rule (17 of int4, 1 of fp32); token "
            "embedding: int8 with a scale a row;",
        ),
        (
            QuantizationPlan(activations="static"),
            "activations with ranges measured on speech in int8 layers, elsewhere of each token",
        ),
    ],
)
def test_the_card_tells_a_plan_as_it_is(teacher: Checkpoint, tmp_path: Path, plan: QuantizationPlan, said: str) -> None:
    counts = quantized(teacher.network(), plan)
    assert sum(counts.bytes.values()) == counts.bytes_after
    manifest = {
        "name": "x",
        "description": "d",
        "files": {},
        "parameters": 1,
        "language": "en",
        "sample_rate": RATE,
        "provenance": [],
        "licenses": [],
        "parity": {},
        "quantization": {"plan": plan.to_table(), "layers": counts.layers, "bytes": counts.bytes},
    }
    write_card(tmp_path / "now.md", manifest, "")
    write_card(tmp_path / "later.md", json.loads(json.dumps(manifest)), "")
    assert said in (tmp_path / "now.md").read_text()
    assert (tmp_path / "now.md").read_text() == (tmp_path / "later.md").read_text()


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


def test_a_recipe_says_how_chunks_are_heard() -> None:
    assert Recipe("tiny", "nowhere").chunking == Chunking()
    assert Recipe("tiny", "nowhere", stream={"size": 8, "look_ahead": 2}).chunking == Chunking(8, look_ahead=2)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"ahed": 1}, "wanted size, left_context and look_ahead, found ahed"),
        ({"size": "x"}, "wanted size to be a whole number"),
        ({"size": 0}, "wanted at least 1 position"),
    ],
)
def test_chunks_that_cannot_be_are_told(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Recipe("tiny", "nowhere", stream=wrong)
