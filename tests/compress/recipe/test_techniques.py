"""Techniques as stages of a recipe, on a tiny network: each does what it is for, and what follows knows of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.checkpoints import own
from compress.data.training_data import TrainingData
from compress.evaluate.measurement import read_rows
from compress.networks.checkpoint import Checkpoint, add_adapters
from compress.recipe.cache import plain
from compress.recipe.compression import BudgetError
from compress.recipe.techniques import settings_of
from compress.report.inputs import gather
from device_asr.errors import UsageError
from tests.support.stages import TRAINING, stage, untrained, walk, zeros

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
        {"do": "alignment", "heads": [[1, 0], [0, 1]]},
    ],
    ids=lambda table: "-".join(map(str, list(table.values())[:2])),
)
def test_a_technique_gives_a_network_and_a_report_of_plain_numbers(
    teacher: Checkpoint, data: TrainingData, tmp_path: Path, table: dict[str, Any]
) -> None:
    result, removed = stage(table, teacher, data, tmp_path)
    result.network()
    smaller = table["do"] not in ("magnitude", "ctc", "adapters", "gptq", "alignment")
    if table["do"] == "vocabulary":
        smaller = len(teacher.vocabulary.tokens) > table["size"]
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
    apart = [walk([table], untrained(1, teacher), data, tmp_path) for table in trainings]
    tables = [{key: value for key, value in table.items() if key != "do"} for table in trainings]
    made = walk([{"do": "average", "trainings": tables, "shares": [0.25, 0.75]}], untrained(1, teacher), data, tmp_path)
    for name, weight in made.weights.items():
        wanted = 0.25 * apart[0].weights[name] + 0.75 * apart[1].weights[name]
        assert torch.allclose(weight, wanted, atol=1e-6), name
    assert made.provenance[:-3] == untrained(1, teacher).provenance
    assert made.provenance[-1] == "the mean of 2 trainings, 0.25 : 0.75"
    assert [note.split(",")[-1] for note in made.provenance[-3:-1]] == [" seed 0", " seed 1"]


def test_checkpoints_are_combined_and_found_again_while_they_are_the_same(
    teacher: Checkpoint, data: TrainingData, tmp_path: Path
) -> None:
    tables = [
        {"do": "average", "checkpoints": str(tmp_path / "other")},
        {"do": "adapters", "rank": 2, "changed": str(tmp_path / "other")},
        {"do": "merge_adapters", "rank": 3, "checkpoints": str(tmp_path / "adapted"), "shares": [1.0, 0.5]},
    ]
    own.save(untrained(2, teacher), tmp_path / "other")
    own.save(add_adapters(untrained(2, teacher), 1), tmp_path / "adapted")
    made = walk(tables, untrained(1, teacher), data, tmp_path / "work")
    assert made.dims.adapters == 3
    assert made.provenance[-3] == "the mean of these weights and those of other, 0.5 : 0.5"
    assert made.provenance[-1].startswith("adapters of 2 checkpoints, times 1, 0.5, as one change, rank 3 (")
    rows = read_rows(tmp_path / "work" / "stages.jsonl")
    assert 0 < rows[1].report["energy"] < 1 and rows[2].report["rank"] == 3
    walk(tables, untrained(1, teacher), data, tmp_path / "work")
    assert read_rows(tmp_path / "work" / "stages.jsonl") == rows, "nothing was made again"
    own.save(untrained(3, teacher), tmp_path / "other")
    again = walk(tables, untrained(1, teacher), data, tmp_path / "work")
    assert not torch.equal(again.weights["encoder.conv1.weight"], made.weights["encoder.conv1.weight"])


def test_other_alignment_heads_change_no_weight(teacher: Checkpoint, data: TrainingData, tmp_path: Path) -> None:
    result, report = stage({"do": "alignment", "heads": [[1, 0], [0, 1]]}, teacher, data, tmp_path)
    assert result.alignment_heads == ((0, 1), (1, 0)) == report.after and report.before == teacher.alignment_heads
    assert result.weights is teacher.weights
    assert result.provenance[-1] == "alignment heads 0.1, 1.0 (layer.head)"


@pytest.mark.parametrize("heads", [[], [[0, 1], [0, 1]], [[0]], [[0, -1]], [[0, 99]], [[9, 0]]], ids=str)
def test_heads_that_are_not_there_are_refused(
    teacher: Checkpoint, data: TrainingData, tmp_path: Path, heads: list[list[int]]
) -> None:
    with pytest.raises(UsageError, match=r"alignment\.heads: wanted .*, found "):
        stage({"do": "alignment", "heads": heads}, teacher, data, tmp_path)


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
        stage(table, untrained(1, teacher), data, tmp_path)


# -- recipes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"do": "head"}, "did you mean 'heads'"),
        ({"size": 3}, "found None"),
        ({"do": "magnitude", "amout": 0.5}, "found 'amout'; did you mean 'amount'"),
        ({"do": "ctc", "size": 3}, "wanted settings of layers, reach, found 'size'"),
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
