"""Trials for real, on a tiny random network: what is asked of the build, and what comes back from it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch

from compress.checkpoints import own
from compress.data.corpus import CorpusError
from compress.evaluate.measurement import read_rows
from compress.networks.checkpoint import Checkpoint
from compress.networks.family import family_of
from compress.recipe.recipe import Recipe
from compress.recipe.techniques import settings_of
from compress.search.device_profile import DeviceProfile
from compress.search.search import Plan
from compress.search.space import Candidate, estimate, student_dims
from compress.search.trials import STRUCTURE, Trials, run, text_loss
from device_asr.bundle.bundle import load
from device_asr.metrics.clips import Clip, read_manifest
from tests.support.families import of_families
from tests.support.paths import ASSETS

LETTER = ASSETS / "letter.flac"
OF_FAMILY = of_families(2)
DEVICE = DeviceProfile("toy", 1, 2000, 24.0, 60_000.0, 60.0, 1.0, "made up")


@pytest.fixture(scope="module", params=OF_FAMILY)
def teacher(request: pytest.FixtureRequest) -> Checkpoint:
    torch.manual_seed(0)
    dims, vocabulary = OF_FAMILY[request.param]
    return Checkpoint(dims, family_of(dims).network(dims).state_dict(), vocabulary, ((0, 0),), ("random",))


@pytest.fixture
def trials(teacher: Checkpoint, tmp_path: Path) -> Trials:
    own.save(teacher, tmp_path / "teacher")
    pcm, rate = soundfile.read(LETTER, dtype="float32", frames=16_000 * 3)
    soundfile.write(tmp_path / "clip.wav", pcm, rate)
    (tmp_path / "dev.jsonl").write_text(json.dumps({"audio": "clip.wav", "text": "dear priya", "duration": 3.0}) + "\n")
    return Trials(
        Recipe("tiny", str(tmp_path / "teacher")),
        tmp_path / "dev.jsonl",
        None,
        None,
        None,
        tmp_path / "work",
        lambda stage, fraction, note: None,
    )


def test_an_untrained_network_guesses_evenly(teacher: Checkpoint, trials: Trials) -> None:
    """With zeros for its last norm every token is as likely: the logarithm of their number for each of 12 tokens."""
    last = {name: torch.zeros(64) for name in teacher.weights if name.startswith("decoder.norm.")}
    loss = text_loss(replace(teacher, weights={**teacher.weights, **last}), trials.clips)
    assert loss == pytest.approx(12 * math.log(teacher.dims.vocab) / 10, rel=1e-5)


def test_clips_without_texts_have_no_loss(teacher: Checkpoint, trials: Trials) -> None:
    with pytest.raises(CorpusError, match="found none among 1"):
        text_loss(teacher, [Clip(trials.clips[0].audio)])


def test_the_recipe_of_a_candidate_keeps_the_other_settings_of_the_base(trials: Trials) -> None:
    stages = [{"do": "vocabulary", "size": 256}, {"do": "distill", "epochs": 9, "rate": 3e-5}]
    base = replace(trials.base, stages=stages)
    recipe = replace(trials, base=base).recipe(Candidate(256, 1, 1, 0.5, 0.5, 8, 2, embedding=4))
    assert recipe.stages[-1] == {"do": "distill", "epochs": 2, "rate": 3e-5}
    assert recipe.quantize == {"bits": 8, "embedding": 4, "embedding_group": 32, "activations": "dynamic"}
    assert [table["do"] for table in recipe.stages if table["do"] != STRUCTURE] == ["vocabulary", "distill"]


def test_four_bits_are_trained_through_their_rounding(trials: Trials) -> None:
    base = replace(trials.base, stages=[{"do": "distill", "rate": 3e-5}])
    recipe = replace(trials, base=base).recipe(Candidate(256, 1, 1, 1.0, 1.0, 4, 2))
    assert recipe.stages[-1] == {"do": "distill", "epochs": 2, "rate": 3e-5, "qat": recipe.quantize}
    assert recipe.quantize == {"bits": 4, "group": 32, "embedding": 8, "activations": "dynamic"}


def test_the_space_is_what_the_build_can_do(trials: Trials) -> None:
    space = trials.space()
    assert space.vocabulary == (256,) and space.epochs == (0,)
    assert len(space.decoder_layers) > 1


def test_the_network_that_is_built_has_the_dims_that_were_estimated(
    teacher: Checkpoint, trials: Trials, tmp_path: Path
) -> None:
    candidate, made = Candidate(256, 1, 1, 0.5, 0.5, 8, 0), teacher
    for table in trials.recipe(candidate).stages:
        technique, settings = settings_of(table)
        made = technique.run(made, settings, None, tmp_path)[0]
    assert made.dims == student_dims(teacher.dims, candidate)
    assert made.parameters == estimate(made.dims, candidate.plan).parameters


def test_what_is_missing_is_said_before_any_work(trials: Trials, tmp_path: Path) -> None:
    (tmp_path / "silent.jsonl").write_text(json.dumps({"audio": "clip.wav"}) + "\n")
    with pytest.raises(CorpusError, match="wanted clips with texts"):
        replace(trials, manifest=tmp_path / "silent.jsonl").check()
    (tmp_path / "gone.jsonl").write_text(json.dumps({"audio": "gone.wav", "text": "a"}) + "\n")
    with pytest.raises(CorpusError, match=r"gone\.wav is missing"):
        replace(trials, manifest=tmp_path / "gone.jsonl").check()
    base = replace(trials.base, stages=[{"do": "distill"}])
    with pytest.raises(CorpusError, match="wanted a folder of manifests"):
        replace(trials, base=base).check()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_search_ends_with_a_bundle_that_loads_and_was_measured(trials: Trials, tmp_path: Path) -> None:
    found = run(trials, DEVICE, Plan(1, None, {}), "device-asr-compress search --device toy")
    row = next(row for row in read_rows(tmp_path / "work" / "ledger.jsonl") if row.worked)
    assert found.best == row and row.state == "complete", row.reason
    bundle = load(row.bundle)
    assert bundle.size == row.bytes and bundle.manifest["parameters"] == row.parameters
    candidate = Candidate(**row.settings)
    assert estimate(student_dims(trials.first.dims, candidate), candidate.plan).parameters == row.parameters
    assert row.wer is not None and row.rtf > 0 and row.memory > 2**20 and row.loss > 0
    assert "search --device toy" in (Path(row.bundle) / "CARD.md").read_text()
    assert len(read_manifest(trials.manifest)) == 1
