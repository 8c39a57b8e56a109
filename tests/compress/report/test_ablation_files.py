"""The TOML files of ablations: those that ship, and those that are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from compress.checkpoints.load import load_checkpoint
from compress.paths import RECIPES
from compress.quantize.plan import EXACT, QuantizationPlan
from compress.recipe.recipe import Recipe, read_recipe
from compress.report.ablation import read_ablation, read_ablations
from device_asr.errors import UsageError


def test_at_least_eight_ablations_ship_and_begin_as_the_shipped_recipe_does() -> None:
    base = read_recipe(RECIPES / "en-tiny.toml")
    shipped = read_ablations(base)
    assert len(shipped) >= 8
    for ablation in shipped:
        assert list(ablation.shared.stages) == list(base.stages)[: len(ablation.shared.stages)]
        assert (ablation.shared.teacher, ablation.shared.corpus) == (base.teacher, base.corpus)
        assert ablation.shared.start == ablation.recipe.start and ablation.recipe.stream == base.stream
    by_name = {ablation.name: ablation for ablation in shipped}
    assert QuantizationPlan.from_table(by_name["teacher"].recipe.quantize) == EXACT
    assert not by_name["teacher"].shared.stages and not by_name["teacher"].recipe.stages
    assert by_name["teacher"].shared.start is None
    student = by_name["student"]
    assert (student.shared.stages, student.recipe.quantize) == (base.stages, base.quantize)
    for name, first in (("magnitude", "magnitude"), ("structured", "heads"), ("lowrank", "lowrank")):
        own = [table["do"] for table in by_name[name].recipe.stages]
        assert own[0] == first and own[-1] == "distill" and not by_name[name].shared.stages
        assert by_name[name].shared.start == base.start is not None


def test_the_plans_of_the_ablations_of_the_base_fit_it() -> None:
    base = read_recipe(RECIPES / "en-tiny.toml")
    network = load_checkpoint(str(RECIPES.parent.parent / base.start)).network()
    for ablation in read_ablations(base):
        if ablation.recipe.start:
            QuantizationPlan.from_table(ablation.recipe.quantize).widths(network)


def test_an_ablation_that_names_no_stage_of_the_recipe_is_refused(tmp_path: Path) -> None:
    base = Recipe("base", "tiny.en", stages=[{"do": "vocabulary", "size": 9}, {"do": "distill"}])
    path = tmp_path / "1.toml"
    path.write_text('name = "a"\nshared = "vocabluary"\n')
    with pytest.raises(UsageError, match=r"stage of base \(vocabulary, distill\).*did you mean 'vocabulary'"):
        read_ablation(path, base)
    path.write_text('name = "a"\nshared = "vocabulary"\nquantized = 8\n')
    with pytest.raises(UsageError, match="wanted the keys"):
        read_ablation(path, base)
    path.write_text('name = "a"\nshared = "vocabulary"\nquantise = 8\n')
    with pytest.raises(UsageError, match="'quantise' is called 'quantize' now"):
        read_ablation(path, base)
    path.write_text('name = "a"\nshared = "vocabulary"\n[corpus]\ndev = 0\n')
    with pytest.raises(UsageError, match=r"corpus\.dev"):
        read_ablation(path, base)
    path.write_text('name = "a"\nshared = "vocabulary"\n')
    assert read_ablation(path, base).shared.stages == [{"do": "vocabulary", "size": 9}]
    path.write_text('name = "a"\nshared = "start"\n')
    shared = read_ablation(path, replace(base, start="b.safetensors")).shared
    assert shared.start == "b.safetensors" and not shared.stages
    (tmp_path / "2.toml").write_text('name = "a"\nshared = "all"\n')
    with pytest.raises(UsageError, match="a name each"):
        read_ablations(base, tmp_path)
