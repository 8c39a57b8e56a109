"""Trainings as stages of a recipe: zeros stay, rounding is trained through, early stopping ends them."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.checkpoints import own
from compress.data.training_data import TrainingData
from compress.distill.early_stopping import decide
from compress.distill.settings import DistillSettings
from compress.distill.training_log import earlier_wers
from compress.networks.checkpoint import Checkpoint
from compress.recipe import cache
from compress.recipe.cache import Stages
from compress.report.inputs import gather
from compress.settings import key
from device_asr.errors import UsageError
from tests.support.stages import TRAINING, untrained, walk, zeros

# -- zeros stay through training ---------------------------------------------------------------------------


def test_pruned_weights_stay_zero_through_later_training_also_where_the_pruning_is_found_on_disk(
    teacher: Checkpoint, corpus: Path, data: TrainingData, tmp_path: Path
) -> None:
    tables = [{"do": "magnitude", "amount": 0.5, "scope": "layer"}, TRAINING]
    pruned = walk(tables[:1], untrained(1, teacher), data, tmp_path)
    trained = walk(tables, untrained(1, teacher), data, tmp_path)
    for name, tensor in pruned.weights.items():
        if tensor.dim() == 2 and name.endswith(".weight") and ".layers." in name:
            assert torch.equal(trained.weights[name] == 0, tensor == 0), name
    assert not torch.equal(trained.weights["encoder.conv1.weight"], pruned.weights["encoder.conv1.weight"])
    assert "zeros kept in" in trained.provenance[-1]

    again = TrainingData(teacher, {"train": "all"}, corpus, None, tmp_path / "labels", lambda *line: None)
    (folder,) = tmp_path.glob("distill-*")
    folder.rename(tmp_path / "former")
    resumed = walk(tables, untrained(1, teacher), again, tmp_path)
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


def test_training_alone_keeps_no_zeros(teacher: Checkpoint, data: TrainingData, tmp_path: Path) -> None:
    weights = {**untrained(1, teacher).weights}
    weights["decoder.layers.0.ffn.up.weight"] = weights["decoder.layers.0.ffn.up.weight"].clone()
    weights["decoder.layers.0.ffn.up.weight"][0, :3] = 0
    trained = walk([TRAINING], replace(untrained(1, teacher), weights=weights), data, tmp_path)
    assert zeros(trained) == 0


# -- streaming -------------------------------------------------------------------------------------------


def test_adapters_and_a_ctc_head_learn_in_chunks_and_the_rest_stays(
    teacher: Checkpoint, data: TrainingData, tmp_path: Path
) -> None:
    """From labels and from the states of the same network with full context."""
    contexts = {"sizes": [4, 8], "left_context": [8, 16], "look_ahead": [1, 2]}
    learned = {"only": ["adapters.*", "ctc.*"], "streaming": {"share": 1.0, **contexts, "ctc": 0.5, "hidden": 1.0}}
    tables: list[dict[str, Any]] = [{"do": "ctc"}, {"do": "adapters", "rank": 4}]
    tables += [{**TRAINING, "epochs": 8, **learned}]
    trained = walk(tables, teacher, data, tmp_path)
    (folder,) = tmp_path.glob("distill-*")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    assert rows[-1]["ctc"] < rows[0]["ctc"] and rows[-1]["hidden"] > 0
    added = {name: value for name, value in trained.weights.items() if name not in teacher.weights}
    assert {name.split(".")[0] for name in added} == {"adapters", "ctc"}
    assert all(value.any() for name, value in added.items() if name.endswith(".up.weight")), "they began at zero"
    assert all(torch.equal(trained.weights[name], value) for name, value in teacher.weights.items())


# -- training through rounding -----------------------------------------------------------------------------


def test_training_through_rounding_gives_plain_weights(teacher: Checkpoint, data: TrainingData, tmp_path: Path) -> None:
    plan = {"bits": 4, "group": 32, "embedding": 8}
    rounded = walk([{**TRAINING, "qat": plan}], untrained(1, teacher), data, tmp_path)
    straight = walk([TRAINING], untrained(1, teacher), data, tmp_path)
    assert list(rounded.weights) == list(untrained(1, teacher).weights)
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
    result = walk([table], untrained(1, teacher), data, tmp_path)
    (folder,) = tmp_path.glob("distill-*")
    verdicts = [row for row in map(json.loads, (folder / "metrics.jsonl").open()) if "decision" in row]
    assert [row["decision"] for row in verdicts] == ["train on"] * (len(verdicts) - 1) + ["qualify"]
    assert 1 < len(verdicts) < 30 and verdicts[0]["wer"] > verdicts[-1]["wer"] == 0 and verdicts[-1]["clips"] == 2
    assert result.provenance[-1].endswith("of dev, short context, no guards: qualify, the budget of 0.00% holds")
    assert any(note.startswith("epoch 1: WER 1") and "train on" in note for _, _, note in told)
    (row,) = gather(tmp_path, None, None).stages
    assert row.wer == 0 and row.report["verdicts"] == verdicts and row.report["steps"] == verdicts[-1]["step"]


def test_a_student_that_gains_nothing_is_given_up_and_its_best_weights_are_kept(
    teacher: Checkpoint, data: TrainingData, tmp_path: Path
) -> None:
    table = {**TRAINING, "epochs": 9, "rate": 1e-9, "evaluate": "dev", "patience": 2, "evaluate_clips": 1}
    result = walk([table], untrained(1, teacher), data, tmp_path)
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
