"""The search: a known landscape of recipes is searched within budgets, and goes on after a kill at any point."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from compress.checkpoints.base import load as load_base
from compress.evaluate.measurement import Measurement, read_rows
from compress.networks.dims import Dims, LayerDims
from compress.networks.moonshine.dims import MoonshineDims
from compress.networks.whisper.dims import WhisperDims
from compress.quantize.plan import QuantizationPlan, Width
from compress.search.device_profile import DeviceProfile
from compress.search.outcome import Outcome, outcome
from compress.search.search import LEDGER, RESULT, CheckLoss, Cut, Plan, search
from compress.search.space import Candidate, Space, estimate, size_of, space_of, student_dims
from device_asr.errors import DeviceAsrError, OutputError, UsageError
from tests.support.paths import MODEL, ROOT

TEACHER = WhisperDims(
    n_mels=80,
    state=384,
    head_dim=64,
    audio_ctx=1500,
    text_ctx=448,
    vocab=50363,
    encoder=(LayerDims(6, 1536),) * 4,
    decoder=(LayerDims(6, 1536, 6),) * 4,
)  # tiny.en's
MOONSHINE = MoonshineDims(
    conv1=416,
    conv2=832,
    rotary=32,
    state=416,
    head_dim=52,
    audio_ctx=1250,
    text_ctx=194,
    vocab=32001,
    encoder=(LayerDims(8, 1664),) * 8,
    decoder=(LayerDims(8, 1664, 8),) * 8,
)  # Moonshine base's
DEVICE = DeviceProfile("toy", 2, 400, 24.0, 500.0, 0.5, 4.0, "made up")
SPACE = Space((5000, 12000, 24000, 50256), (2, 4), (1, 2, 4), (0.5, 1.0), (0.5, 1.0), (4, 8), (1, 4))
PLAN = Plan(5, None, {"teacher": "toy"})


class Landscape:
    """A double of building and measuring: the larger the network and the longer its training, the lower the WER."""

    def __init__(self) -> None:
        self.seen: list[Candidate] = []

    def __call__(self, candidate: Candidate, device: DeviceProfile, check_loss: CheckLoss) -> Measurement:
        self.seen.append(candidate)
        size = size_of(TEACHER, candidate)
        wer = 0.1 + 1.0e6 / size.parameters + 0.02 / candidate.epochs + (0.02 if candidate.bits == 4 else 0)
        check_loss(wer)
        seconds = size.parameters / 3e8
        return Measurement(
            candidate.key,
            parameters=size.parameters,
            bytes=size.bytes,
            wer=wer,
            rtf=seconds / 2,
            compute_p95=seconds,
            memory=300 * 2**20,
            bundle=f"b/{candidate.key}",
        )


def run(work: Path, evaluate: Landscape | None = None, device: DeviceProfile = DEVICE, plan: Plan = PLAN) -> Outcome:
    return search(device, SPACE, TEACHER, evaluate or Landscape(), work, plan)


# -- sizes without building ----------------------------------------------------------------------------


def test_the_estimate_is_within_one_per_cent_of_the_shipped_bundle() -> None:
    manifest = json.loads((MODEL / "manifest.json").read_text())
    plan = QuantizationPlan.from_table(manifest["quantization"]["plan"])
    logits = manifest["programs"]["speech"]["methods"]["decode"]["outputs"][0]
    dims = load_base(MODEL.parent / "en-tiny.base.safetensors").dims
    size = estimate(replace(dims, vocab=logits["shape"][1]), plan)
    assert size.parameters == manifest["parameters"]
    assert size.bytes == pytest.approx(sum(entry["bytes"] for entry in manifest["files"].values()), rel=0.01)


def test_the_estimate_of_moonshine_base_is_a_little_below_its_bundle() -> None:
    """16 000 tokens, 4 bits in groups of 32, convolutions in 8, as GPTQ rounded and `build` wrote it: 1.4 %."""
    plan = QuantizationPlan(4, 32, layers=(("encoder.conv*", Width(8)),), embedding=4, embedding_group=32)
    size = estimate(replace(MOONSHINE, vocab=16002), plan)
    assert size.parameters == 54_539_680
    assert 0.985 < size.bytes / (32_945_716 + 1_255_172 + 63_788) < 1


@pytest.mark.parametrize(("teacher", "special"), [(TEACHER, 4), (MOONSHINE, 2)], ids=["whisper", "moonshine"])
def test_a_candidate_of_everything_is_the_teacher(teacher: Dims, special: int) -> None:
    layers = len(teacher.encoder), len(teacher.decoder)
    assert student_dims(teacher, Candidate(teacher.vocab - special, *layers, 1.0, 1.0, 8, 1)) == teacher


def test_shares_keep_whole_heads_and_channels_in_eights() -> None:
    dims = student_dims(TEACHER, Candidate(5000, 3, 2, 0.67, 0.33, 8, 1))
    assert dims.encoder == (LayerDims(4, 504),) * 3
    assert dims.decoder == (LayerDims(4, 504, 4),) * 2
    with pytest.raises(UsageError, match="encoder layers: wanted 1 to 4, found 5"):
        student_dims(TEACHER, Candidate(5000, 5, 2, 1.0, 1.0, 8, 1))


def test_fewer_bits_are_fewer_bytes() -> None:
    sizes = [estimate(TEACHER, QuantizationPlan(bits, embedding=max(bits, 8))) for bits in (4, 8, 32)]
    assert sizes[0].bytes < sizes[1].bytes < sizes[2].bytes
    assert len({size.parameters for size in sizes}) == 1


def test_the_vocabulary_varies_up_to_the_whole_one() -> None:
    assert space_of(TEACHER, 50256).vocabulary == (5000, 8000, 12000, 16000, 24000, 50256)
    assert space_of(TEACHER, 300).vocabulary == (300,)


# -- searching ----------------------------------------------------------------------------------------


def test_the_best_bundle_within_the_budgets_is_found_and_told(tmp_path: Path) -> None:
    evaluate = Landscape()
    found = run(tmp_path, evaluate)
    rows = read_rows(tmp_path / LEDGER)
    complete = [row for row in rows if row.state == "complete"]
    assert found.holds and found.best is not None
    assert found.best.wer == min(row.wer for row in complete if row.bytes <= 24e6 and row.compute_p95 <= 0.125)
    assert found.sentence.startswith("Best within the budgets of toy: b/") and "WER" in found.sentence
    assert json.loads((tmp_path / RESULT).read_text())["best"]["bundle"] == found.best.bundle
    assert all(row.settings and row.parameters and row.bytes and row.seconds >= 0 for row in rows)


def test_what_is_too_large_by_estimate_is_never_built(tmp_path: Path) -> None:
    evaluate = Landscape()
    run(tmp_path, evaluate, replace(DEVICE, size_mb=12.0))
    cut = [row for row in read_rows(tmp_path / LEDGER) if row.reason.startswith("estimated size")]
    assert cut and all(row.state == "cut" and row.estimated and not row.worked and row.bytes > 12e6 for row in cut)
    assert all(size_of(TEACHER, one).bytes <= 12e6 for one in evaluate.seen)


def test_the_first_trials_are_whole_networks_with_as_many_tokens_as_fit(tmp_path: Path) -> None:
    evaluate = Landscape()
    run(tmp_path, evaluate)
    assert evaluate.seen[:2] == [Candidate(50256, 4, 4, 1.0, 1.0, 4, 1, 4), Candidate(12000, 4, 4, 1.0, 1.0, 8, 1, 4)]
    wider = [
        replace(one, vocabulary=SPACE.vocabulary[SPACE.vocabulary.index(one.vocabulary) + 1])
        for one in evaluate.seen[:2]
        if one.vocabulary < 50256
    ]
    assert all(size_of(TEACHER, one).bytes > 24e6 for one in wider)


def test_no_recipe_is_built_twice_and_a_space_has_an_end(tmp_path: Path) -> None:
    evaluate, few = (
        Landscape(),
        replace(
            SPACE,
            vocabulary=(5000,),
            encoder_layers=(2,),
            decoder_layers=(1,),
            heads=(1.0,),
            ffn=(1.0,),
            embedding=(8,),
        ),
    )
    found = search(DEVICE, few, TEACHER, evaluate, tmp_path, replace(PLAN, trials=None))
    assert len(evaluate.seen) == len(set(evaluate.seen)) == 4
    assert found.holds


def test_a_hopeless_loss_cuts_the_trial_before_it_is_built(tmp_path: Path) -> None:
    built = []

    def evaluate(candidate: Candidate, device: DeviceProfile, check_loss: CheckLoss) -> Measurement:
        check_loss(5.0 if len(built) == 6 else 1.0 - len(built) / 100)
        built.append(candidate)
        return Measurement("a", parameters=1, bytes=1, wer=0.1)

    search(DEVICE, SPACE, TEACHER, evaluate, tmp_path, replace(PLAN, trials=7))
    last = [row for row in read_rows(tmp_path / LEDGER) if row.worked][-1]
    assert (last.state, last.loss) == ("cut", 5.0) and "worst quarter" in last.reason
    assert len(built) == 6


def test_a_built_bundle_over_budget_is_cut_with_its_true_size(tmp_path: Path) -> None:
    def evaluate(candidate: Candidate, device: DeviceProfile, check_loss: CheckLoss) -> Measurement:
        raise Cut("built size 25 MB instead of 24 MB", Measurement("a", parameters=7, bytes=25_000_000))

    found = search(DEVICE, SPACE, TEACHER, evaluate, tmp_path, replace(PLAN, trials=1))
    row = next(row for row in found.rows if row.worked)
    assert (row.state, row.bytes, row.estimated) == ("cut", 25_000_000, False)
    assert found.best is None and "No bundle for toy" in found.sentence


def test_one_failed_trial_is_a_row_and_the_search_goes_on(tmp_path: Path) -> None:
    landscape = Landscape()

    def evaluate(candidate: Candidate, device: DeviceProfile, check_loss: CheckLoss) -> Measurement:
        if not landscape.seen:
            landscape.seen.append(candidate)
            raise DeviceAsrError("The export failed.")
        return landscape(candidate, device, check_loss)

    found = search(DEVICE, SPACE, TEACHER, evaluate, tmp_path, replace(PLAN, trials=3))
    worked = [row for row in found.rows if row.worked]
    assert [row.state for row in worked] == ["failed", "complete", "complete"]
    assert worked[0].reason == "The export failed."


def test_a_full_disk_ends_the_search_and_the_trial_is_done_again(tmp_path: Path) -> None:
    landscape = Landscape()

    def full(candidate: Candidate, device: DeviceProfile, check_loss: CheckLoss) -> Measurement:
        landscape.seen.append(candidate)
        raise OutputError("The disk is full.")

    with pytest.raises(OutputError):
        search(DEVICE, SPACE, TEACHER, full, tmp_path, replace(PLAN, trials=1))
    run(tmp_path, landscape, plan=replace(PLAN, trials=2))
    assert landscape.seen.count(landscape.seen[0]) == 2  # those that were queued behind it may come first


# -- ends -----------------------------------------------------------------------------------------------


def test_the_nearest_is_told_with_what_it_misses(tmp_path: Path) -> None:
    found = run(tmp_path, device=replace(DEVICE, finalization_ms=10.0), plan=replace(PLAN, trials=3))
    assert not found.holds and found.best is not None
    assert [miss.budget for miss in found.missed] == ["finalization"]
    assert found.best.parameters == min(row.parameters for row in found.rows if row.state == "complete")
    assert "Nothing holds the budgets of toy; nearest is b/" in found.sentence
    assert "misses finalization" in found.sentence and "instead of 10 ms" in found.sentence


def test_within_the_budgets_wer_decides_and_beyond_them_the_excess() -> None:
    def row(trial: int, bytes: int, wer: float) -> Measurement:
        return Measurement(str(trial), parameters=1, bytes=bytes, wer=wer)

    rows = [row(0, 30_000_000, 0.05), row(1, 20_000_000, 0.15), row(2, 24_000_000, 0.12)]
    assert outcome(rows, DEVICE).best == rows[2]
    assert outcome(rows, replace(DEVICE, size_mb=10.0)).best == rows[1]
    assert outcome([], DEVICE).best is None


def test_an_impossible_budget_is_refused_before_any_work(tmp_path: Path) -> None:
    evaluate = Landscape()
    with pytest.raises(UsageError, match=r"toy allows 2 MB, but the smallest network .* takes about [\d.]+ MB"):
        run(tmp_path / "work", evaluate, replace(DEVICE, size_mb=2.0))
    assert not evaluate.seen and not (tmp_path / "work").exists()


def test_time_spent_counts_over_all_runs(tmp_path: Path) -> None:
    def slow(candidate: Candidate, device: DeviceProfile, check_loss: CheckLoss) -> Measurement:
        time.sleep(0.05)
        return Landscape()(candidate, device, check_loss)

    plan = replace(PLAN, trials=None, seconds=0.2)
    first = search(DEVICE, SPACE, TEACHER, slow, tmp_path, plan)
    again = search(DEVICE, SPACE, TEACHER, slow, tmp_path, plan)
    assert sum(row.worked for row in first.rows) in range(1, 5)
    assert again.rows == first.rows


# -- going on ---------------------------------------------------------------------------------------------


def test_the_same_command_goes_on_and_adds_only_what_is_missing(tmp_path: Path) -> None:
    first, second = Landscape(), Landscape()
    run(tmp_path, first, plan=replace(PLAN, trials=2))
    found = run(tmp_path, second, plan=replace(PLAN, trials=3))
    assert (len(first.seen), len(second.seen)) == (2, 1)
    assert not set(first.seen) & set(second.seen)
    assert sum(row.worked for row in found.rows) == 3


def test_a_ledger_of_another_search_is_refused(tmp_path: Path) -> None:
    run(tmp_path, plan=replace(PLAN, trials=1))
    with pytest.raises(UsageError, match="another teacher"):
        run(tmp_path, plan=replace(PLAN, identity={"teacher": "other"}))
    with pytest.raises(UsageError, match="another device"):
        run(tmp_path, device=replace(DEVICE, rtf=0.4))


def test_a_storage_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "search.sqlite").write_text("not a database, but long enough to be looked at" * 9)
    with pytest.raises(OutputError, match=r"search\.sqlite cannot be used"):
        run(tmp_path)


def test_a_killed_trial_is_done_again_with_the_same_recipe(tmp_path: Path) -> None:
    """The process is killed in its second trial, without warning."""
    script = textwrap.dedent("""
        import json, sys, time
        from pathlib import Path
        from tests.compress.search.test_search import DEVICE, PLAN, SPACE, TEACHER, Landscape
        from compress.search.search import search
        work, landscape = Path(sys.argv[1]), Landscape()
        def evaluate(candidate, device, check_loss):
            if len(landscape.seen) == 1:
                (work / "killed.json").write_text(candidate.key)
                time.sleep(60)
            return landscape(candidate, device, check_loss)
        search(DEVICE, SPACE, TEACHER, evaluate, work, PLAN)
    """)
    path = str(ROOT)
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], env={**os.environ, "PYTHONPATH": path})
    marker, deadline = tmp_path / "killed.json", time.monotonic() + 60
    while not marker.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert sum(row.worked for row in read_rows(tmp_path / LEDGER)) == 1
    landscape = Landscape()
    found = run(tmp_path, landscape, plan=replace(PLAN, trials=2))
    assert landscape.seen[0].key == marker.read_text()
    assert len(landscape.seen) == 1 and sum(row.worked for row in found.rows) == 2
