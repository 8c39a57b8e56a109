"""Recipes as they are read: what cannot be is one sentence, and an old name is answered with the new one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from compress.networks.chunking import Chunking
from compress.recipe.recipe import Recipe, read_recipe
from device_asr.errors import UsageError
from tests.support.builds import TRAINING, Run, assert_told, build_of, recipe


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
