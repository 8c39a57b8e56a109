"""Techniques as stages of a recipe, on a tiny network: each does what it is for, and what follows knows of it."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from compress.checkpoints import own
from compress.data.training_data import TrainingData
from compress.distill.early_stopping import decide
from compress.distill.settings import DistillSettings
from compress.distill.training_log import earlier_wers
from compress.evaluate.measurement import read_rows
from compress.networks.checkpoint import Checkpoint, add_adapters
from compress.networks.dims import LayerDims
from compress.networks.whisper.dims import WhisperDims
from compress.recipe import cache
from compress.recipe.cache import Stages, plain
from compress.recipe.compression import BudgetError
from compress.recipe.techniques import settings_of
from compress.report.inputs import gather
from compress.settings import key
from device_asr.errors import UsageError
from tests.support import speaking_teacher
from tests.support.speaking_teacher import BYTES, speaking

RATE = 16_000
DIMS = WhisperDims(
    n_mels=8,
    state=32,
    head_dim=8,
    audio_ctx=1500,
    text_ctx=208,
    vocab=260,
    encoder=(LayerDims(4, 64),) * 2,
    decoder=(LayerDims(4, 64, 4),) * 2,
)
TRAINING = {"do": "distill", "epochs": 1, "batch": 4, "rate": 1e-2, "warmup": 1, "average": 0.5, "cut": 0.0}


def untrained(seed: int) -> Checkpoint:
    return speaking_teacher.untrained(DIMS, BYTES, seed)


@pytest.fixture(scope="module")
def teacher() -> Checkpoint:
    return speaking(DIMS, BYTES, b" oh no.")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    for name, count in (("train", 8), ("dev", 2)):
        rows = []
        for i in range(count):
            seconds = float(rng.uniform(1.2, 2.0))
            soundfile.write(folder / f"{name}{i}.wav", rng.normal(0, 0.1, int(seconds * RATE)), RATE)
            rows.append({"audio": f"{name}{i}.wav", "text": "oh no", "duration": seconds})
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def told() -> list[tuple[str, float | None, str]]:
    """What the progress line said."""
    return []


@pytest.fixture
def data(teacher: Checkpoint, corpus: Path, tmp_path: Path, told: list[Any]) -> TrainingData:
    return TrainingData(teacher, {"train": "all"}, corpus, None, tmp_path / "labels", lambda *line: told.append(line))


def stage(table: dict[str, Any], checkpoint: Checkpoint, data: TrainingData, folder: Path) -> tuple[Checkpoint, Any]:
    technique, settings = settings_of(table)
    return technique.run(checkpoint, settings, data, folder)


def walk(tables: list[dict[str, Any]], checkpoint: Checkpoint, data: TrainingData, work: Path) -> Checkpoint:
    stages = Stages(work, data.progress)
    return stages.walk(tables, {"train": "all"}, data, checkpoint, "start")[0]


def zeros(checkpoint: Checkpoint) -> int:
    return sum(
        int((tensor == 0).sum())
        for name, tensor in checkpoint.weights.items()
        if name.endswith(".weight") and tensor.dim() == 2
    )


# -- each technique --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "table",
    [
        {"do": "vocabulary", "size": 256},
        {"do": "magnitude", "amount": 0.5},
        {"do": "magnitude", "threshold": 0.05, "layers": ["decoder.layers.1"]},
        {"do": "heads", "amount": 0.5},
        {"do": "heads", "heads": 2, "importance": "taylor"},
        {"do": "ffn", "ffn": 24, "parts": "encoder"},
        {"do": "layers", "layers": 1},
        {"do": "narrow", "state": 24, "heads": 3, "ffn": 32, "encoder_layers": 1},
        {"do": "lowrank", "rank": 8},
        {"do": "lowrank", "energy": 0.7, "activations": False},
        {"do": "ctc"},
        {"do": "adapters", "rank": 4},
        {"do": "gptq", "plan": {"bits": 4, "group": 32}, "clips": 4},
    ],
    ids=lambda table: "-".join(map(str, list(table.values())[:2])),
)
def test_a_technique_gives_a_network_and_a_report_of_plain_numbers(
    teacher: Checkpoint, data: TrainingData, tmp_path: Path, table: dict[str, Any]
) -> None:
    result, removed = stage(table, teacher, data, tmp_path)
    result.network()
    smaller = table["do"] not in ("vocabulary", "magnitude", "ctc", "adapters", "gptq")
    assert (result.parameters < teacher.parameters) is smaller
    if table["do"] == "magnitude":
        assert zeros(result) > zeros(teacher) and removed.sparsity > 0.1
    json.dumps(plain(removed))
    assert result.provenance[:-1] == teacher.provenance


@pytest.mark.parametrize(
    "table",
    [
        {"do": "magnitude", "amount": 0},
        {"do": "heads", "amount": 0},
        {"do": "ffn", "amount": 0.0},
        {"do": "layers", "amount": 0},
        {"do": "narrow"},
        {"do": "lowrank", "energy": 1, "activations": False},
        {"do": "gptq", "plan": {"bits": 8}},
    ],
    ids=lambda table: table["do"],
)
def test_amount_0_changes_nothing(
    teacher: Checkpoint, data: TrainingData, tmp_path: Path, table: dict[str, Any]
) -> None:
    assert stage(table, teacher, data, tmp_path)[0] is teacher


def test_the_mean_of_two_trainings_is_that_of_their_weights(
    teacher: Checkpoint, data: TrainingData, tmp_path: Path
) -> None:
    trainings = [{**TRAINING, "rate": 1e-3}, {**TRAINING, "seed": 1}]
    apart = [walk([table], untrained(1), data, tmp_path) for table in trainings]
    tables = [{key: value for key, value in table.items() if key != "do"} for table in trainings]
    made = walk([{"do": "average", "trainings": tables, "shares": [0.25, 0.75]}], untrained(1), data, tmp_path)
    for name, weight in made.weights.items():
        wanted = 0.25 * apart[0].weights[name] + 0.75 * apart[1].weights[name]
        assert torch.allclose(weight, wanted, atol=1e-6), name
    assert made.provenance[:-3] == untrained(1).provenance
    assert made.provenance[-1] == "the mean of 2 trainings, 0.25 : 0.75"
    assert [note.split(",")[-1] for note in made.provenance[-3:-1]] == [" seed 0", " seed 1"]


def test_checkpoints_are_combined_and_found_again_while_they_are_the_same(data: TrainingData, tmp_path: Path) -> None:
    tables = [
        {"do": "average", "checkpoints": str(tmp_path / "other")},
        {"do": "adapters", "rank": 2, "changed": str(tmp_path / "other")},
        {"do": "merge_adapters", "rank": 3, "checkpoints": str(tmp_path / "adapted"), "shares": [1.0, 0.5]},
    ]
    own.save(untrained(2), tmp_path / "other")
    own.save(add_adapters(untrained(2), 1), tmp_path / "adapted")
    made = walk(tables, untrained(1), data, tmp_path / "work")
    assert made.dims.adapters == 3
    assert made.provenance[-3] == "the mean of these weights and those of other, 0.5 : 0.5"
    assert made.provenance[-1].startswith("adapters of 2 checkpoints, times 1, 0.5, as one change, rank 3 (")
    rows = read_rows(tmp_path / "work" / "stages.jsonl")
    assert 0 < rows[1].report["energy"] < 1 and rows[2].report["rank"] == 3
    walk(tables, untrained(1), data, tmp_path / "work")
    assert read_rows(tmp_path / "work" / "stages.jsonl") == rows, "nothing was made again"
    own.save(untrained(3), tmp_path / "other")
    again = walk(tables, untrained(1), data, tmp_path / "work")
    assert not torch.equal(again.weights["encoder.conv1.weight"], made.weights["encoder.conv1.weight"])


def test_which_settings_learn_from_clips() -> None:
    learns = {
        json.dumps(table): settings_of(table)[0].learns(settings_of(table)[1])
        for table in (
            {"do": "heads", "heads": 1},
            {"do": "heads", "heads": 1, "importance": "taylor"},
            {"do": "distill"},
            {"do": "lowrank", "rank": 8},
            {"do": "lowrank", "rank": 8, "activations": False},
            {"do": "ctc"},
            {"do": "gptq", "plan": {"bits": 4}},
        )
    }
    assert list(learns.values()) == [False, True, True, True, False, False, True]


def test_low_rank_goes_as_far_as_the_wer_budget_holds(teacher: Checkpoint, data: TrainingData, tmp_path: Path) -> None:
    table = {
        "do": "lowrank",
        "energy": 0.8,
        "wer_budget": 0.0,
        "steps": 2,
        "clips": 2,
        "layers": "encoder.*",
        "activations": False,
    }
    result, search = stage(table, teacher, data, tmp_path)
    assert search.held and result.parameters == min(one.parameters for one in search.steps if one.holds)
    assert len(json.loads(json.dumps(plain(search)))["steps"]) == len(search.steps) > 1
    with pytest.raises(BudgetError, match=r"the budget of 0\.00%: nothing can be cut"):
        stage(table, untrained(1), data, tmp_path)


# -- zeros stay through training ---------------------------------------------------------------------------


def test_pruned_weights_stay_zero_through_later_training_also_where_the_pruning_is_found_on_disk(
    teacher: Checkpoint, corpus: Path, data: TrainingData, tmp_path: Path
) -> None:
    tables = [{"do": "magnitude", "amount": 0.5, "scope": "layer"}, TRAINING]
    pruned = walk(tables[:1], untrained(1), data, tmp_path)
    trained = walk(tables, untrained(1), data, tmp_path)
    for name, tensor in pruned.weights.items():
        if tensor.dim() == 2 and name.endswith(".weight") and ".layers." in name:
            assert torch.equal(trained.weights[name] == 0, tensor == 0), name
    assert not torch.equal(trained.weights["encoder.conv1.weight"], pruned.weights["encoder.conv1.weight"])
    assert "zeros kept in" in trained.provenance[-1]

    again = TrainingData(teacher, {"train": "all"}, corpus, None, tmp_path / "labels", lambda *line: None)
    (folder,) = tmp_path.glob("distill-*")
    folder.rename(tmp_path / "former")
    resumed = walk(tables, untrained(1), again, tmp_path)
    assert all(torch.equal(value, resumed.weights[name]) for name, value in trained.weights.items())


def test_the_same_seed_makes_the_same_weights_in_another_folder(
    teacher: Checkpoint, corpus: Path, tmp_path: Path
) -> None:
    tables = [
        {"do": "heads", "heads": 3, "importance": "taylor"},
        {"do": "lowrank", "energy": 0.9},
        {**TRAINING, "qat": {"bits": 8}, "evaluate": "dev"},
    ]
    made = []
    for name in ("first", "second"):
        own = TrainingData(teacher, {"train": "all"}, corpus, None, tmp_path / name / "labels", lambda *line: None)
        made.append(walk(tables, teacher, own, tmp_path / name))
    assert made[0].provenance == made[1].provenance and made[0].dims == made[1].dims
    assert all(torch.equal(value, made[1].weights[name]) for name, value in made[0].weights.items())


def test_training_alone_keeps_no_zeros(data: TrainingData, tmp_path: Path) -> None:
    weights = {**untrained(1).weights}
    weights["decoder.layers.0.ffn.up.weight"] = weights["decoder.layers.0.ffn.up.weight"].clone()
    weights["decoder.layers.0.ffn.up.weight"][0, :3] = 0
    trained = walk([TRAINING], replace(untrained(1), weights=weights), data, tmp_path)
    assert zeros(trained) == 0


# -- training through rounding -----------------------------------------------------------------------------


def test_training_through_rounding_gives_plain_weights(data: TrainingData, tmp_path: Path) -> None:
    plan = {"bits": 4, "group": 32, "embedding": 8}
    rounded = walk([{**TRAINING, "qat": plan}], untrained(1), data, tmp_path)
    straight = walk([TRAINING], untrained(1), data, tmp_path)
    assert list(rounded.weights) == list(untrained(1).weights)
    assert not torch.equal(rounded.weights["decoder.embedding.weight"], straight.weights["decoder.embedding.weight"])
    assert "4-bit rounding" in rounded.provenance[-1] and "rounding" not in straight.provenance[-1]
    rows = [json.loads(line) for path in tmp_path.glob("distill-*/metrics.jsonl") for line in path.open()]
    assert len({row["loss"] for row in rows}) == len(rows) > 2


def test_a_result_depends_on_every_setting_and_on_the_version_of_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(key(DistillSettings())) == {field.name for field in fields(DistillSettings)}
    assert key(DistillSettings(evaluate="dev", patience=3)).items() >= {"evaluate": "dev", "patience": 3}.items()
    assert key(DistillSettings(qat={"bits": 4}))["qat"]["bits"] == 4
    stages = Stages(tmp_path, lambda *line: None)
    folder = stages.folder("distill", key(DistillSettings()))
    assert folder == stages.folder("distill", key(DistillSettings()))
    assert folder != stages.folder("distill", key(DistillSettings(2)))
    monkeypatch.setattr(cache, "CACHE_VERSION", cache.CACHE_VERSION + 1)
    assert stages.folder("distill", key(DistillSettings())) != folder


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"qat": {"bits": 5}}, "wanted 4, 8 or 32"),
        ({"qat": {"activations": "static"}}, "found static"),
        ({"wer_budget": 0.1}, "wanted evaluate"),
        ({"evaluate": "dev", "wer_budget": 15}, "such as 0.15, found 15"),
        ({"patience": 0}, "at least 1, found 0"),
        ({"evaluate_clips": 1.5}, "whole number"),
    ],
)
def test_impossible_settings_of_rounding_and_early_stopping_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        DistillSettings(**values)


# -- the verdict after an epoch ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wers", "budget", "decision", "reason"),
    [
        ([0.3], None, "train on", "the lowest so far"),
        ([0.3, 0.3], None, "train on", "no gain for 1 of 2 epochs"),
        (
            [0.2, 0.3, 0.2],
            0.1,
            "stop",
            "no gain for 2 epochs; the best was 20.00% after epoch 1, above the budget of 10",
        ),
        ([0.3, 0.1], 0.1, "qualify", "the budget of 10.00% holds"),
        ([0.3, 0.29, 0.28, 0.27], 0.1, "stop", "the last of 4 epochs; the best was 27.00%, above the budget"),
        ([0.3, 0.4, 0.2, 0.3], None, "stop", "the last of 4 epochs; the best was 20.00%"),
    ],
)
def test_the_verdict_by_the_wers_so_far(wers: list[float], budget: float | None, decision: str, reason: str) -> None:
    found = decide(wers, budget, 2, 4)
    assert found[0] == decision and found[1].startswith(reason)


def test_a_student_that_qualifies_ends_the_training(
    teacher: Checkpoint, data: TrainingData, tmp_path: Path, told: list[Any]
) -> None:
    table = {**TRAINING, "epochs": 30, "evaluate": "dev", "wer_budget": 0.0, "patience": 30}
    result = walk([table], untrained(1), data, tmp_path)
    (folder,) = tmp_path.glob("distill-*")
    verdicts = [row for row in map(json.loads, (folder / "metrics.jsonl").open()) if "decision" in row]
    assert [row["decision"] for row in verdicts] == ["train on"] * (len(verdicts) - 1) + ["qualify"]
    assert 1 < len(verdicts) < 30 and verdicts[0]["wer"] > verdicts[-1]["wer"] == 0 and verdicts[-1]["clips"] == 2
    assert result.provenance[-1].endswith("of dev, short context, no guards: qualify, the budget of 0.00% holds")
    assert any(note.startswith("epoch 1: WER 1") and "train on" in note for _, _, note in told)
    (row,) = gather(tmp_path, None, None).stages
    assert row.wer == 0 and row.report["verdicts"] == verdicts and row.report["steps"] == verdicts[-1]["step"]


def test_a_student_that_gains_nothing_is_given_up_and_its_best_weights_are_kept(
    data: TrainingData, tmp_path: Path
) -> None:
    table = {**TRAINING, "epochs": 9, "rate": 1e-9, "evaluate": "dev", "patience": 2, "evaluate_clips": 1}
    result = walk([table], untrained(1), data, tmp_path)
    (folder,) = tmp_path.glob("distill-*")
    verdicts = [row for row in map(json.loads, (folder / "metrics.jsonl").open()) if "decision" in row]
    assert [row["decision"] for row in verdicts] == ["train on", "train on", "stop"]
    assert "2 steps" in own.load(folder / "best").provenance[-1]  # of the first epoch
    assert "2 steps" in result.provenance[-2] and "stop, no gain for 2 epochs" in result.provenance[-1]


def test_a_verdict_that_a_kill_left_behind_is_not_counted_twice(tmp_path: Path) -> None:
    rows = [
        {"step": 1, "loss": 1.0},
        {"step": 1, "decision": "train on", "wer": 0.5},
        {"step": 2, "loss": 1.0},
        {"step": 2, "decision": "train on", "wer": 0.4},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert earlier_wers(tmp_path) == [0.5]


# -- recipes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"do": "head"}, "did you mean 'heads'"),
        ({"size": 3}, "found None"),
        ({"do": "magnitude", "amout": 0.5}, "found 'amout'; did you mean 'amount'"),
        ({"do": "ctc", "size": 3}, "wanted settings of no name"),
        ({"do": "adapters", "rank": 0}, "rank: wanted a whole number of at least 1"),
        ({"do": "vocabulary"}, "found no size"),
        ({"do": "gptq"}, "found no plan"),
        ({"do": "lowrank", "rank": 8, "wer_budget": 0.1}, "found a rank"),
        ({"do": "vocabulary", "size": "x"}, "'x'"),
    ],
)
def test_a_stage_that_is_misspelled_is_told(table: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        settings_of(table)


def test_each_stage_tells_what_it_removed(teacher: Checkpoint, data: TrainingData, tmp_path: Path) -> None:
    walk([{"do": "heads", "heads": 2}, {"do": "magnitude", "amount": 0.5}], teacher, data, tmp_path)
    first = gather(tmp_path, None, None).stages
    walk([{"do": "heads", "heads": 2}, {"do": "magnitude", "amount": 0.5}], teacher, data, tmp_path)
    again = read_rows(tmp_path / "stages.jsonl")
    assert first == again and [row.name for row in again] == ["heads", "magnitude"]
    assert {"part": "encoder.layers.0.attention", "before": 4, "after": 2} in again[0].report["removed"]
    assert again[1].report["zeros"] > 0 and again[0].bytes == 4 * again[0].parameters
    assert json.loads((tmp_path / again[0].folder / "report.json").read_text())["report"] == again[0].report
