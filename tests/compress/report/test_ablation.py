"""Ablations: what is built and measured once, and told when it fails; the table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from click.testing import CliRunner

from compress.checkpoints import own
from compress.cli import group
from compress.evaluate.measurement import MeasurementError, read_rows
from compress.export.export import SpeechProgram
from compress.networks.checkpoint import Checkpoint
from compress.networks.family import family_of
from compress.paths import RECIPES
from compress.recipe import build as building
from compress.recipe import export as exporting
from compress.recipe.recipe import Recipe, read_recipe
from compress.report.ablation import LEDGER, Ablation, AblationError, Builder, ablate, read_ablation, read_ablations
from device_asr.errors import DeviceAsrError, OutputError, UsageError
from tests.support.families import of_families
from tests.support.paths import ASSETS

LETTER = ASSETS / "letter.flac"
OF_FAMILY = of_families(1)


@dataclass
class FakeBuilder:
    """Writes bundles of a few bytes; `broken`: name -> what is raised instead. made: names, as they came."""

    work: Path
    contents: bytes = b"weights"
    broken: dict[str, Exception] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    def bundle(self, name: str) -> Path:
        return self.work / name

    def __call__(self, ablation: Ablation, progress: Any) -> int:
        self.made.append(ablation.name)
        if ablation.name in self.broken:
            raise self.broken[ablation.name]
        out = self.bundle(ablation.name)
        out.mkdir(parents=True, exist_ok=True)
        (out / "model.pte").write_bytes(self.contents)
        (out / "manifest.json").write_text(
            json.dumps(
                {
                    "name": ablation.name,
                    "description": f"the {ablation.name}",
                    "parameters": 7,
                    "files": {"model.pte": {"bytes": len(self.contents), "sha256": self.contents.hex()}},
                }
            )
        )
        return 5


@dataclass
class Measurer:
    """A benchmark whose figures are made up. measured: names of the bundles, as they came."""

    measured: list[str] = field(default_factory=list)

    def __call__(self, bundle: Path) -> Mapping[str, Any]:
        self.measured.append(bundle.name)
        return {
            "corpora": [
                {
                    "clips": 2,
                    "words": 20,
                    "substitutions": 3,
                    "deletions": 1,
                    "insertions": 0,
                    "wer": 0.2,
                    "wer_interval": [0.1, 0.3],
                    "cer": 0.1,
                    "rtf": 0.05,
                    "finalization": {"n": 2, "p50": 0.6, "p95": 0.8},
                    "finalization_no_hangover": {"n": 2, "p50": 0.03, "p95": 0.1},
                }
            ]
        }


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "dev.jsonl"
    path.write_text('{"audio": "a.wav", "text": "a"}\n')
    return path


ABLATIONS = [Ablation(Recipe("base", "tiny.en"), Recipe(name, "tiny.en")) for name in ("teacher", "int8", "int4")]


def run(
    build: FakeBuilder,
    measure: Measurer,
    manifest: Path,
    only: tuple[str, ...] = (),
    threads: int = 2,
    told: list[tuple[str, float | None, str]] | None = None,
) -> Any:
    return ablate(
        ABLATIONS,
        only,
        build,
        measure,
        manifest,
        threads,
        lambda *values: told.append(values) if told is not None else None,
    )


# -- the run -----------------------------------------------------------------------------------------


def test_each_ablation_is_built_measured_and_a_row_in_order(tmp_path: Path, manifest: Path) -> None:
    measure = Measurer()
    found = run(FakeBuilder(tmp_path / "work"), measure, manifest)
    assert [row.name for row in found.rows] == measure.measured == ["teacher", "int8", "int4"]
    row = found.rows[1]
    assert (row.parameters, row.nonzero, row.bytes, row.title) == (7, 5, 7, "the int8")
    assert (row.substitutions, row.deletions, row.insertions, row.wer) == (3, 1, 0, 0.2)
    assert (row.finalization_p50, row.finalization_p95, row.compute_p50, row.compute_p95) == (0.6, 0.8, 0.03, 0.1)
    assert tuple(read_rows(tmp_path / "work" / LEDGER)) == found.rows
    found.check()


def test_a_run_that_was_stopped_goes_on_with_the_ablation_it_was_at(tmp_path: Path, manifest: Path) -> None:
    make, measure = FakeBuilder(tmp_path / "work", broken={"int8": KeyboardInterrupt()}), Measurer()
    with pytest.raises(KeyboardInterrupt):
        run(make, measure, manifest)
    again = Measurer()
    found = run(FakeBuilder(tmp_path / "work"), again, manifest)
    assert measure.measured == ["teacher"] and again.measured == ["int8", "int4"]
    assert len(found.rows) == 3


def test_another_bundle_other_speech_or_other_threads_are_measured_anew(tmp_path: Path, manifest: Path) -> None:
    run(FakeBuilder(tmp_path / "work"), Measurer(), manifest)
    for make, threads in ((FakeBuilder(tmp_path / "work", b"other weights"), 2), (FakeBuilder(tmp_path / "work"), 1)):
        measure = Measurer()
        assert len(run(make, measure, manifest, threads=threads).rows) == len(measure.measured) == 3
    manifest.write_text('{"audio": "b.wav", "text": "b"}\n')
    measure = Measurer()
    assert len(run(FakeBuilder(tmp_path / "work"), measure, manifest).rows) == len(measure.measured) == 3


def test_an_ablation_that_fails_is_told_and_the_others_are_done(tmp_path: Path, manifest: Path) -> None:
    broken = {"teacher": DeviceAsrError("The disk is on fire."), "int8": RuntimeError("no kernel\nat this, at that")}
    told: list[tuple[str, float | None, str]] = []
    found = run(FakeBuilder(tmp_path / "work", broken=dict(broken)), Measurer(), manifest, told=told)
    assert [row.name for row in found.rows] == ["int4"]
    assert found.failed == {"teacher": "The disk is on fire.", "int8": "RuntimeError: no kernel"}
    assert ("1/3 teacher: failed", 1.0, "The disk is on fire.") in told
    with pytest.raises(AblationError, match=r"teacher: The disk is on fire; int8: RuntimeError: no kernel"):
        found.check()
    make = FakeBuilder(tmp_path / "work")
    assert len(run(make, Measurer(), manifest).rows) == 3


def test_only_some_ablations_are_built_and_the_rows_of_the_others_stay(tmp_path: Path, manifest: Path) -> None:
    run(FakeBuilder(tmp_path / "work"), Measurer(), manifest)
    make, measure = FakeBuilder(tmp_path / "work", b"other weights"), Measurer()
    found = run(make, measure, manifest, only=("int8",))
    assert make.made == measure.measured == ["int8"]
    assert [(row.name, row.bytes) for row in found.rows] == [("teacher", 7), ("int8", 13), ("int4", 7)]


def test_what_cannot_be_is_said_before_any_work(tmp_path: Path, manifest: Path) -> None:
    make = FakeBuilder(tmp_path / "work")
    with pytest.raises(UsageError, match="wanted one of teacher, int8, int4; did you mean 'int8'"):
        run(make, Measurer(), manifest, only=("int88",))
    with pytest.raises(UsageError, match="does not exist"):
        run(make, Measurer(), tmp_path / "none.jsonl")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / LEDGER).write_text('{"key": 1}\n')
    with pytest.raises(MeasurementError, match="line 1: wanted an object with a name"):
        run(make, Measurer(), manifest)
    assert make.made == []


def test_without_room_for_a_row_the_run_ends(tmp_path: Path, manifest: Path) -> None:
    (tmp_path / "work" / LEDGER).mkdir(parents=True)
    make = FakeBuilder(tmp_path / "work")
    with pytest.raises(OutputError, match="cannot be written"):
        run(make, Measurer(), manifest)
    assert make.made == ["teacher"]


# -- building ----------------------------------------------------------------------------------------


@pytest.fixture(params=OF_FAMILY)
def teacher(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder with a tiny random network."""
    torch.manual_seed(0)
    dims, vocabulary = OF_FAMILY[request.param]
    weights = family_of(dims).network(dims).state_dict()
    own.save(Checkpoint(dims, weights, vocabulary, ((0, 0),), ("random",)), tmp_path / "teacher")
    return str(tmp_path / "teacher")


@pytest.mark.parametrize("family", OF_FAMILY)
def test_the_plans_of_the_shipped_ablations_name_layers_of_either_family(family: str) -> None:
    """Of networks with as many layers as tiny.en has, adapters and a CTC head; its columns are whole groups of 32."""
    small = OF_FAMILY[family][0]
    layers = {"encoder": small.encoder * 4, "decoder": small.decoder * 4}
    base = read_recipe(RECIPES / "en-tiny.toml")
    for ablation in read_ablations(base):
        added = {} if ablation.recipe.start is None else {"ctc": 29, "adapters": 2}
        dims = replace(small, **layers, **added)
        with torch.device("meta"):
            network = family_of(dims).network(dims)
        widths = ablation.recipe.plan.widths(network)
        assert widths.keys() > {"encoder.conv2", "decoder.layers.3.cross.out"}, ablation.name


def test_ablations_and_builds_share_their_stages(teacher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "export_speech", lambda *given: SpeechProgram(b"program", {}, {}, {}))
    monkeypatch.setattr(exporting, "export_vad", lambda *given: b"vad")
    told: list[tuple[str, float | None, str]] = []
    base = Recipe("base", teacher, stages=[{"do": "magnitude", "amount": 0.25}])
    building.build(base, tmp_path / "bundle", tmp_path / "work", None, None, lambda *values: None)
    make = Builder(tmp_path / "work", None, None)
    own = Recipe("more", teacher, description="more zeros", stages=[{"do": "magnitude", "amount": 0.75}])
    zeros = make(Ablation(base, own), lambda *values: told.append(values))
    assert told[0] == ("magnitude", 1.0, "unchanged") and told[1] == ("magnitude", None, "")
    manifest = json.loads((make.bundle("more") / "manifest.json").read_text())
    assert (manifest["name"], manifest["description"]) == ("more", "more zeros")
    assert ["25%" in manifest["provenance"][1], "75%" in manifest["provenance"][2]] == [True, True]
    told.clear()
    fewer = make(Ablation(base, Recipe("whole", teacher)), lambda *values: told.append(values))
    assert zeros < fewer < manifest["parameters"]
    assert {stage: note for stage, _, note in told if stage in ("magnitude", "export", "vad")} == {
        "magnitude": "unchanged",
        "export": "unchanged",
        "vad": "unchanged",
    }


def test_a_recipe_and_its_ablations_begin_with_a_checkpoint_of_their_own(
    teacher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "export_speech", lambda *given: SpeechProgram(b"program", {}, {}, {}))
    monkeypatch.setattr(exporting, "export_vad", lambda *given: b"vad")
    loaded = own.load(Path(teacher))
    student = replace(loaded, provenance=("of the student",), weights={k: v / 2 for k, v in loaded.weights.items()})
    own.save(student, tmp_path / "student")
    base = Recipe("base", teacher, start=str(tmp_path / "student"))
    make = Builder(tmp_path / "work", None, None)
    path = tmp_path / "ablation.toml"
    for shared, wanted in (("all", "of the student"), ("none", "random")):
        path.write_text(f'name = "{shared}"\nshared = "{shared}"\n[[stages]]\ndo = "magnitude"\namount = 0.25\n')
        make(read_ablation(path, base), lambda *values: None)
        manifest = json.loads((make.bundle(shared) / "manifest.json").read_text())
        assert manifest["provenance"][0] == wanted


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_command_makes_the_table_of_real_bundles_and_puts_it_into_a_file(teacher: str, tmp_path: Path) -> None:
    pcm, rate = soundfile.read(LETTER, dtype="float32", frames=16_000 * 3)
    soundfile.write(tmp_path / "clip.wav", pcm, rate)
    (tmp_path / "dev.jsonl").write_text(json.dumps({"audio": "clip.wav", "text": "dear priya", "duration": 3.0}) + "\n")
    (tmp_path / "tiny.toml").write_text(
        f'name = "tiny"\nteacher = "{teacher}"\n[[stages]]\ndo = "vocabulary"\nsize = 256\n'
    )
    (tmp_path / "README.md").write_text("<!-- ablation -->\n<!-- /ablation -->\n")
    arguments = [
        "ablate",
        "--recipe",
        str(tmp_path / "tiny.toml"),
        "--corpus",
        str(tmp_path),
        "--manifest",
        str(tmp_path / "dev.jsonl"),
        "--work",
        str(tmp_path / "work"),
        "--readme",
        str(tmp_path / "README.md"),
        "--only",
        "vocabulary",
        "--only",
        "int8",
    ]
    first = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert first.exit_code == 0, first.output
    rows = read_rows(tmp_path / "work" / LEDGER)
    assert [row.name for row in rows] == ["vocabulary", "int8"] and rows[0].bytes > rows[1].bytes > 1_255_172
    assert all(row.words == 2 and row.rtf and row.nonzero <= row.parameters for row in rows)
    assert first.output.strip() in (tmp_path / "README.md").read_text()
    assert CliRunner().invoke(group, arguments, catch_exceptions=False).output == first.output
