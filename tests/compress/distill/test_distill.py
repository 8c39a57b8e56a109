"""The training loop on tiny networks: it learns, goes on after a cut as if nothing had been, and says what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from compress.data.augment import Augmentation, TrainingFrontend
from compress.data.corpus import CorpusError, pad, read_clip
from compress.data.labels import LabelCache, full_context, trusted
from compress.data.targets import NOTHING, Targets, distance, distillation_loss, targets
from compress.data.translate import translator
from compress.distill.early_stopping import Verdict
from compress.distill.settings import DistillSettings, Streaming
from compress.distill.trainer import Run, TrainingError, distill, schedule
from compress.networks.checkpoint import (
    Checkpoint,
    add_adapters,
    add_ctc,
)
from compress.networks.dims import LayerDims
from compress.networks.label import Label
from compress.networks.whisper.bpe import token_encoder
from compress.networks.whisper.dims import WhisperDims
from device_asr.bundle.vocabulary import Vocabulary
from device_asr.errors import UsageError
from device_asr.metrics.clips import Clip
from tests.support import speaking_teacher
from tests.support.speaking_teacher import speaking

RATE = 16_000
PIECES = (b" the", b" cat", b" sat", b" on", b" a", b" mat", b".", b"!")
VOCABULARY = Vocabulary(PIECES, (9, 11), 8, 10)
SAID = [0, 1, 2, 6]  # " the cat sat."
DIMS = WhisperDims(
    n_mels=8,
    state=16,
    head_dim=8,
    audio_ctx=1500,
    text_ctx=208,
    vocab=12,
    encoder=(LayerDims(2, 32),),
    decoder=(LayerDims(2, 32, 2),),
)
RECIPE = DistillSettings(epochs=2, batch=2, rate=3e-3, warmup=1, cut=0.3, average=0.5, save_every=1e-6)


def untrained(seed: int) -> Checkpoint:
    return speaking_teacher.untrained(DIMS, VOCABULARY, seed)


@pytest.fixture(scope="module")
def teacher() -> Checkpoint:
    return speaking(DIMS, VOCABULARY, SAID, listens=0.0)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder, rng = tmp_path_factory.mktemp("clips"), np.random.default_rng(0)
    made = []
    for i in range(8):
        seconds = float(rng.uniform(1.5, 3.0))
        soundfile.write(folder / f"{i}.wav", rng.normal(0, 0.1, int(seconds * RATE)), RATE)
        made.append(Clip(folder / f"{i}.wav", "the cat sat" if i % 2 else None, None, seconds))
    return made


def run(
    teacher: Checkpoint,
    clips: list[Clip],
    work: Path,
    recipe: DistillSettings = RECIPE,
    bfloat16: bool | None = None,
    **options: Any,
) -> tuple[Checkpoint, list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    noises = [np.random.default_rng(1).normal(0, 0.1, RATE).astype(np.float32)]
    return distill(
        teacher, untrained(1), clips, noises, recipe, Run(work, bfloat16=bfloat16), rows.append, **options
    ), rows


def logged(work: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (work / "metrics.jsonl").read_text().splitlines()]


# -- what the teacher says --------------------------------------------------------------------------------


def test_the_teachers_label_holds_its_text_its_end_and_its_best_tokens(teacher: Checkpoint) -> None:
    (label,) = full_context(teacher.network(), VOCABULARY, [np.zeros(RATE, np.float32)])
    assert label.tokens.tolist() == SAID and label.ended
    assert label.best.shape == label.logprobs.shape == (5, 12)
    assert label.best[:, 0].tolist() == [*SAID, VOCABULARY.end]


def test_labels_are_kept_on_disk_by_sound_and_weights(teacher: Checkpoint, tmp_path: Path) -> None:
    audio = np.zeros(RATE, np.float32)
    (label,) = LabelCache(tmp_path, teacher).labels([audio], [None])
    again = LabelCache(tmp_path, teacher)
    assert again.labels([audio], [None])[0].tokens.tolist() == label.tokens.tolist()
    assert again._network is None, "read, not computed"
    again.labels([audio + 0.1, audio], [None, "the cat sat"])
    assert len(list(tmp_path.glob("*.npz"))) == 3


def test_a_given_text_corrects_the_label(teacher: Checkpoint, tmp_path: Path) -> None:
    words = VOCABULARY.decode(SAID).split()
    given = " ".join(["sat" if words[0].lower() != "sat" else "mat", *words[1:]]).lower()
    (own,), (better,) = (
        LabelCache(tmp_path, teacher).labels([np.zeros(RATE, np.float32)], [text]) for text in (None, given)
    )
    assert VOCABULARY.decode(better.tokens.tolist()).lower().split() == given.split() != words
    assert better.best[-1, 0] == VOCABULARY.end and better.best.shape == (len(better.tokens) + 1, own.best.shape[1])
    first = better.best[0]
    assert set(first) == {better.tokens[0]}, "certain where the teacher's best is another token"


def test_any_changed_weight_changes_the_fingerprint(teacher: Checkpoint) -> None:
    weights = dict(teacher.weights)
    weights["encoder.positions"] = weights["encoder.positions"].clone()
    weights["encoder.positions"][-1, -1] += 1e-3
    assert replace(teacher, weights=weights).key() != teacher.key() == teacher.key()


def label(ids: list[int], ended: bool = True) -> Label:
    best = np.array([[token, (token + 1) % 12, (token + 2) % 12] for token in [*ids, 8]], np.int32)
    return Label(np.array(ids, np.int32), best, np.log(np.full(best.shape, 1 / 3)).astype(np.float16), ended)


@pytest.mark.parametrize(
    ("ids", "ended", "given", "kept"),
    [
        (SAID, True, "the cat sat", True),
        (SAID, True, None, True),
        (SAID, True, "on a mat", False),  # another sentence
        (SAID, False, None, False),  # never stopped
        ([], True, None, False),
        ([0, 1] * 40, True, None, False),  # a loop that stopped
    ],
)
def test_only_texts_to_learn_from_are_kept(ids: list[int], ended: bool, given: str | None, kept: bool) -> None:
    assert trusted(label(ids, ended), VOCABULARY, given) is kept


# -- the loss --------------------------------------------------------------------------------------------


def batch_of(*texts: list[int]) -> Targets:
    return targets([label(ids) for ids in texts], VOCABULARY)


def test_the_end_is_learned_and_padding_is_not() -> None:
    wanted = batch_of(SAID, [3])
    assert wanted.text.tolist() == [[*SAID, 8], [3, 8, NOTHING, NOTHING, NOTHING]]
    assert wanted.tokens[0].tolist() == [9, 11, *SAID] and wanted.count == 7 and wanted.words == 4


def test_the_soft_term_is_zero_for_the_teachers_own_distribution() -> None:
    wanted = batch_of(SAID)
    logits = torch.full((1, wanted.tokens.shape[1], 12), -1e9)
    for at in range(5):
        logits[0, 1 + at, wanted.best[0, at]] = wanted.logprobs[0, at]
    for temperature in (1.0, 2.0):
        assert float(distillation_loss(logits, wanted, 1.0, 0.0, temperature)) == pytest.approx(0, abs=1e-5)
    assert float(distillation_loss(logits, wanted, 0.0, 1.0)) == pytest.approx(np.log(3), abs=1e-3)


def test_parts_weighed_by_tokens_make_the_whole() -> None:
    torch.manual_seed(0)
    wanted, parts = batch_of(SAID, [3]), [batch_of(SAID), batch_of([3])]
    logits = torch.randn(2, 6, 12)
    whole = distillation_loss(logits, wanted, 0.7, 0.3)
    summed = (
        sum(
            distillation_loss(logits[i : i + 1, : part.tokens.shape[1]], part, 0.7, 0.3) * part.count
            for i, part in enumerate(parts)
        )
        / wanted.count
    )
    assert float(whole) == pytest.approx(float(summed), rel=1e-5)


def test_the_rate_rises_then_falls_to_a_tenth() -> None:
    rates = [schedule(step, 10, 100) for step in range(1, 101)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[9] == 1.0 and rates[-1] == pytest.approx(0.1)
    assert rates[:10] == sorted(rates[:10]) and rates[9:] == sorted(rates[9:], reverse=True)


# -- the loop ----------------------------------------------------------------------------------------------


def test_the_student_learns_what_the_teacher_says_and_where_it_stops(
    teacher: Checkpoint, clips: list[Clip], tmp_path: Path
) -> None:
    student, rows = run(teacher, clips, tmp_path, replace(RECIPE, epochs=15, rate=1e-2))
    assert rows[-1]["loss"] < 0.3 * rows[0]["loss"] and rows[-1]["step"] == rows[-1]["of"] == 60
    (heard,) = full_context(student.network(), VOCABULARY, [np.zeros(2 * RATE, np.float32)])
    assert heard.tokens.tolist() == SAID and heard.ended
    assert student.provenance[0] == "random" and "8 clips, 60 steps" in student.provenance[1]
    assert {"loss", "rate", "step", "of", "speed", "words", "left"} <= set(rows[-1]) and rows[-1]["speed"] > 0


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_that_was_killed_ends_in_the_same_weights(
    teacher: Checkpoint, clips: list[Clip], tmp_path: Path, accumulate: int
) -> None:
    recipe = replace(RECIPE, accumulate=accumulate, augment=Augmentation(masked=0.5, reverb=0.5))
    straight, _ = run(teacher, clips, tmp_path / "straight", recipe)
    steps = len(logged(tmp_path / "straight"))

    def killed(row: dict[str, Any]) -> None:
        if row["step"] == steps // 2 + 1:  # after its metrics are written, before its state is saved
            raise KeyboardInterrupt

    noises = [np.random.default_rng(1).normal(0, 0.1, RATE).astype(np.float32)]
    with pytest.raises(KeyboardInterrupt):
        distill(teacher, untrained(1), clips, noises, recipe, Run(tmp_path / "cut"), killed)
    with (tmp_path / "cut" / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"loss": 0.1, "st')  # a kill in the middle of a line
    resumed, rows = run(teacher, clips, tmp_path / "cut", recipe)
    assert [row["step"] for row in rows] == list(range(steps // 2 + 1, steps + 1))
    assert [row["loss"] for row in logged(tmp_path / "cut")] == [row["loss"] for row in logged(tmp_path / "straight")]
    for name, value in straight.weights.items():
        assert torch.equal(value, resumed.weights[name]), name


def test_a_finished_run_is_not_run_again(teacher: Checkpoint, clips: list[Clip], tmp_path: Path) -> None:
    first, _ = run(teacher, clips, tmp_path)
    second, rows = run(teacher, clips, tmp_path)
    assert rows == [] and all(torch.equal(value, second.weights[name]) for name, value in first.weights.items())


def test_another_recipe_or_corpus_does_not_go_on_from_this_state(
    teacher: Checkpoint, clips: list[Clip], tmp_path: Path
) -> None:
    run(teacher, clips, tmp_path)
    for other in ({"recipe": replace(RECIPE, rate=1e-4), "clips": clips}, {"recipe": RECIPE, "clips": clips[:6]}):
        with pytest.raises(UsageError, match="another work folder"):
            run(teacher, other["clips"], tmp_path, other["recipe"])


def test_the_run_ends_when_the_student_qualifies(teacher: Checkpoint, clips: list[Clip], tmp_path: Path) -> None:
    asked: list[Checkpoint] = []

    def evaluate(student: Checkpoint) -> Verdict:
        asked.append(student)
        return Verdict("train on" if len(asked) == 1 else "qualify", "the budget holds", {"wer": 0.1})

    recipe = replace(RECIPE, epochs=5)
    _, rows = run(teacher, clips, tmp_path, recipe, early_stopping=evaluate)
    assert rows[-1]["step"] == 8 and rows[-1]["of"] == 20
    assert logged(tmp_path)[-1] == {"step": 8, "decision": "qualify", "reason": "the budget holds", "wer": 0.1}
    assert run(teacher, clips, tmp_path, recipe, early_stopping=evaluate)[1] == [] and len(asked) == 2, (
        "not asked again"
    )


def test_bfloat16_learns_with_float32_weights_and_frontend(
    teacher: Checkpoint, clips: list[Clip], tmp_path: Path
) -> None:
    student, rows = run(teacher, clips, tmp_path, replace(RECIPE, epochs=6, rate=1e-2), bfloat16=True)
    assert rows[-1]["loss"] < 0.7 * rows[0]["loss"]
    assert {value.dtype for value in student.weights.values()} == {torch.float32}
    network, pcm = untrained(0).network(), torch.randn(1, RATE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        bare, guarded = network.frontend(pcm), TrainingFrontend(network.frontend)(pcm)
    assert torch.equal(guarded, network.frontend(pcm)) and not torch.equal(bare, guarded)


# -- bad input -----------------------------------------------------------------------------------------------


def test_a_corpus_without_a_usable_clip_is_told(teacher: Checkpoint, clips: list[Clip], tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"1 to 29 s, found none among 1"):
        run(teacher, [replace(clips[0], duration=40.0)], tmp_path)
    wrong = [replace(clip, text="on a mat") for clip in clips]
    with pytest.raises(CorpusError, match="None of the 8 clips"):
        run(teacher, wrong, tmp_path / "wrong", replace(RECIPE, cut=0.0))


def test_a_label_is_written_in_the_student_s_pruned_vocabulary() -> None:
    bytes_ = tuple(bytes([b]) for b in range(256))
    old = Vocabulary((*bytes_, b"at", b"cat"), (259, 261), 258, 260)
    new = Vocabulary((*bytes_, b"at"), (258, 260), 257, 259)
    best = np.array([[257, 256], [256, 257], [258, 0]], np.int32)
    label = Label(np.array([257, 256], np.int32), best, np.log([[0.75, 0.25]] * 3).astype(np.float16), True)
    translated = translator(old, new, token_encoder(new))(label)
    assert translated.tokens.tolist() == [ord("c"), 256, 256]  # "cat" is spelled, "at" is kept
    assert translated.best[:, 0].tolist() == [ord("c"), 256, 256, 257]
    assert translated.logprobs[0].tolist() == [0.0, -60.0]  # a spelled piece is certain
    assert translated.logprobs[2, 1] == np.float16(-60.0)  # a pruned rival has no weight


def test_a_loss_that_is_not_finite_ends_the_run(teacher: Checkpoint, clips: list[Clip], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"lower distill\.rate"):
        run(teacher, clips, tmp_path, replace(RECIPE, rate=1e30))


@pytest.mark.parametrize(
    "values",
    [
        {"cut": 1.0},
        {"average": -0.1},
        {"batch": 0},
        {"accumulate": 0},
        {"rate": 0.0},
        {"temperature": 0.0},
        {"soft": -1.0},
        {"soft": 0.0, "hard": 0.0},
    ],
)
def test_an_impossible_setting_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(values))):
        DistillSettings(**values)


def test_a_table_of_a_recipe_becomes_an_augmentation() -> None:
    assert DistillSettings(augment={"noise": 0.5}).augment == Augmentation(noise=0.5)
    with pytest.raises(UsageError, match=r"distill\.augment"):
        DistillSettings(augment={"loudness": 1})


# -- hidden states -----------------------------------------------------------------------------------------


def test_a_student_learns_the_teachers_states_of_thirty_seconds(
    teacher: Checkpoint, clips: list[Clip], tmp_path: Path
) -> None:
    recipe = replace(
        RECIPE,
        epochs=6,
        rate=1e-2,
        soft=0.0,
        hard=0.0,
        hidden=1.0,
        cut=0.0,
        augment=Augmentation(lead=0.0, tail=0.0, noise=0.0, reverb=0.0, speed=0.0, telephone=0.0, clipped=0.0),
    )
    recordings = [read_clip(clip) for clip in clips]

    def apart(student: Checkpoint) -> float:
        whole = torch.from_numpy(pad([np.pad(s, (0, 30 * RATE - len(s))) for s in recordings], 320)[0])
        pcm, lengths = map(torch.from_numpy, pad(recordings, 320))
        with torch.no_grad():
            states, mask = student.network().encode(pcm, lengths)
            wanted = teacher.network().encode(whole)[0][:, : states.shape[1]]
        return float(distance(states, wanted, mask))

    student = untrained(1)
    rows: list[dict[str, Any]] = []
    trained = distill(teacher, student, clips, [], recipe, Run(tmp_path), rows.append)
    assert rows[-1]["loss"] < rows[0]["loss"] and apart(trained) < apart(student)


def test_states_of_another_width_cannot_be_learned(teacher: Checkpoint, clips: list[Clip], tmp_path: Path) -> None:
    narrow = speaking_teacher.untrained(replace(DIMS, state=DIMS.state // 2), VOCABULARY, 1)
    with pytest.raises(UsageError, match=r"distill\.hidden: wanted a student whose states are as wide"):
        distill(teacher, narrow, clips, [], replace(RECIPE, hidden=0.1), Run(tmp_path), lambda row: None)


# -- streaming ---------------------------------------------------------------------------------------------


def test_a_student_learns_to_hear_in_chunks_and_to_spell(
    teacher: Checkpoint, clips: list[Clip], tmp_path: Path
) -> None:
    student = add_ctc(untrained(1))
    recipe = replace(RECIPE, epochs=6, rate=1e-2, streaming=Streaming(0.5, (8, 16), (20, 40), ctc=0.5, hidden=0.1))
    rows: list[dict[str, Any]] = []
    trained = distill(teacher, student, clips, [], recipe, Run(tmp_path), rows.append)
    assert rows[-1]["ctc"] < rows[0]["ctc"] and rows[-1]["text"] < rows[0]["text"]
    assert any("hidden" in row for row in rows) and any("hidden" not in row for row in rows), "dual mode"
    assert not torch.equal(trained.weights["ctc.out.weight"], student.weights["ctc.out.weight"])


def test_adapters_are_trained_alone(teacher: Checkpoint, clips: list[Clip], tmp_path: Path) -> None:
    student = add_adapters(add_ctc(untrained(1)), 2)
    recipe = replace(
        RECIPE, only=("adapters.*",), rate=1e-2, streaming=Streaming(1.0, (4,), (8, 20), (1,), ctc=0.0, hidden=1.0)
    )
    rows: list[dict[str, Any]] = []
    trained = distill(teacher, student, clips, [], recipe, Run(tmp_path), rows.append)
    moved = {name for name, value in trained.weights.items() if not torch.equal(value, student.weights[name])}
    assert moved == {name for name in student.weights if name.startswith("adapters.")}
    assert all("hidden" in row for row in rows), "led to what the same weights hear of the whole"


@pytest.mark.parametrize("whole", [False, True])
def test_states_are_led_to_those_of_the_beginning(
    teacher: Checkpoint, clips: list[Clip], tmp_path: Path, whole: bool
) -> None:
    """Those of batches in chunks always, of clips heard whole where the training is to keep them."""
    recipe = replace(
        RECIPE,
        epochs=1,
        streaming=Streaming(0.5, (4,), (8, 20), (1,), ctc=0.0, hidden=1.0, regularize_whole=whole),
    )
    rows = run(teacher, clips, tmp_path, recipe)[1]
    assert 0 < sum("hidden" in row for row in rows) <= len(rows)
    assert all("hidden" in row for row in rows) is whole


def test_a_share_of_the_weights_before_is_kept(teacher: Checkpoint, clips: list[Clip], tmp_path: Path) -> None:
    before, trained = untrained(1), run(teacher, clips, tmp_path / "all")[0]
    kept = run(teacher, clips, tmp_path / "kept", replace(RECIPE, keep=0.25))[0]
    for name, weight in kept.weights.items():
        assert torch.allclose(weight, 0.25 * before.weights[name] + 0.75 * trained.weights[name], atol=1e-6), name
    assert "25% of the weights before" in kept.provenance[-1]


def test_only_the_named_weights_move(teacher: Checkpoint, clips: list[Clip], tmp_path: Path) -> None:
    student = add_ctc(untrained(1))
    recipe = replace(RECIPE, soft=0.0, hard=0.0, only=("ctc.*",), streaming=Streaming(ctc=1.0))
    trained = distill(teacher, student, clips, [], recipe, Run(tmp_path), lambda row: None)
    moved = {name for name, value in trained.weights.items() if not torch.equal(value, student.weights[name])}
    assert moved == {f"ctc.{part}.{kind}" for part in ("hidden", "out") for kind in ("weight", "bias")}
    with pytest.raises(UsageError, match=r"nearest is .ctc"):
        distill(
            teacher, student, clips, [], replace(recipe, only=("ctd.*",)), Run(tmp_path / "other"), lambda row: None
        )


@pytest.mark.parametrize(
    "wrong",
    [{"share": 1.5}, {"sizes": ()}, {"left_context": (9, 3)}, {"ctc": -1.0}, {"look_ahead": ()}, {"look_ahead": (-1,)}],
)
def test_streaming_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"distill\.streaming"):
        Streaming(**wrong)


# -- without labels ---------------------------------------------------------------------------------------


def test_states_are_learned_without_any_label(
    teacher: Checkpoint, clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LabelCache, "load", lambda self: pytest.fail("the teacher's text is not needed"))
    streaming = Streaming(share=1.0, sizes=(8,), left_context=(8, 16), look_ahead=(1,), hidden=1.0)
    recipe = replace(RECIPE, soft=0.0, hard=0.0, only=("adapters.*",), streaming=streaming)
    noises = [np.zeros(RATE, np.float32)]
    rows: list[dict[str, Any]] = []
    student = add_adapters(untrained(1), 2)
    done = distill(teacher, student, clips, noises, recipe, Run(tmp_path), rows.append)
    assert all(row["loss"] is not None and row["words"] == 0 for row in rows)
    assert sum(row["speed"] > 0 for row in rows) == len(rows)
    assert {name for name in done.weights if not torch.equal(done.weights[name], student.weights[name])}


def test_low_rank_changes_learn_what_the_teacher_says_and_go_on_after_a_cut(
    teacher: Checkpoint, clips: list[Clip], tmp_path: Path
) -> None:
    recipe = replace(RECIPE, rank=4, rate=1e-2, joined=0.5, only=("*.attention.*", "*.cross.*", "*.ffn.*"))
    whole, rows = run(teacher, clips, tmp_path / "whole", recipe)
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert set(whole.weights) == set(untrained(1).weights)
    change = whole.weights["decoder.layers.0.ffn.up.weight"] - untrained(1).weights["decoder.layers.0.ffn.up.weight"]
    assert torch.linalg.matrix_rank(change, rtol=1e-3) <= 4
    seen: list[int] = []

    def cut(row: dict[str, Any]) -> None:
        seen.append(row["step"])
        if row["step"] == 3:
            raise KeyboardInterrupt

    noises = [np.random.default_rng(1).normal(0, 0.1, RATE).astype(np.float32)]
    with pytest.raises(KeyboardInterrupt):
        distill(teacher, untrained(1), clips, noises, recipe, Run(tmp_path / "cut"), cut)
    again, _ = run(teacher, clips, tmp_path / "cut", recipe)
    assert all(torch.equal(again.weights[name], whole.weights[name]) for name in whole.weights)


def test_a_given_text_is_spelled_without_the_teacher(clips: list[Clip], teacher: Checkpoint, tmp_path: Path) -> None:
    streaming = Streaming(share=1.0, sizes=(8,), left_context=(8, 16), look_ahead=(1,), ctc=1.0)
    recipe = replace(RECIPE, soft=0.0, hard=0.0, cut=0.0, only=("ctc.*",), streaming=streaming)
    rows: list[dict[str, Any]] = []
    student, spoken = add_ctc(untrained(1)), [clip for clip in clips if clip.text]
    done = distill(teacher, student, spoken, [], recipe, Run(tmp_path, tmp_path / "labels"), rows.append)
    assert not list((tmp_path / "labels").glob("*.npz")) and rows[-1]["loss"] < rows[0]["loss"]
    assert not torch.equal(done.weights["ctc.out.weight"], student.weights["ctc.out.weight"])
