"""The training loop: short-context distillation of a student to its teacher's full-context text.

The teacher always saw 30 s; on an unpadded utterance it does not know where to stop. The student is
given the utterance with 0 to 1 s of room around it, cut in mid-speech at times, and learns the teacher's
text of the 30 s window, its end included. Resumable: weights, averages, optimizer and position are
saved together, and the randomness of a step depends on the seed and its number alone (see `loader.py`).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from compress.data.augment import TrainingFrontend
from compress.data.corpus import LONGEST_CLIP_S, SHORTEST_CLIP_S, CorpusError, usable
from compress.data.labels import CONTEXT, LabelCache, has_bfloat16, precision
from compress.data.targets import ctc_loss, distance, distillation_loss
from compress.distill.loader import Batch, Loader
from compress.distill.settings import DistillRecipe
from compress.networks.checkpoint import Checkpoint, fingerprint
from compress.networks.chunking import without_look_ahead
from compress.networks.masks import padding
from compress.networks.patterns import choose
from compress.networks.whisper.frontend import SAMPLE_RATE, SAMPLES_PER_POSITION
from compress.networks.whisper.network import Whisper
from compress.prune.magnitude import apply_masks
from compress.quantize.qat import prepare_qat
from compress.settings import key
from device_asr.errors import DeviceAsrError, OutputError, UsageError
from device_asr.files import write_whole
from device_asr.metrics.clips import Clip

LOWEST_RATE = 0.1  # of the highest: where the cosine ends


class TrainingError(DeviceAsrError):
    """The training cannot go on."""


@dataclass(frozen=True)
class Verdict:
    """What an evaluation after an epoch decides, with its figures and the reason."""

    decision: Literal["qualify", "train on", "stop"]
    reason: str
    metrics: Mapping[str, float] = field(default_factory=dict)


def distill(
    teacher: Checkpoint,
    student: Checkpoint,
    clips: Sequence[Clip],
    noises: Sequence[np.ndarray],
    recipe: DistillRecipe,
    work: Path,
    report: Callable[[dict[str, Any]], None],
    *,
    judge: Callable[[Checkpoint], Verdict] | None = None,
    device: str = "cpu",
    bfloat16: bool | None = None,
    labels: Path | None = None,
    masks: Mapping[str, Tensor] | None = None,
) -> Checkpoint:
    """Trains `student` on the teacher's labels, written in its own vocabulary; returns its averaged weights.

    Args:
        noises: background recordings, (n,) float32 at 16 kHz.
        labels: folder of the teacher's labels, which other runs may share; None: in `work`.
        masks: weights that stay zero, see `prune.masks`.
        work: folder for state.pt and metrics.jsonl; a run that was cut goes on from there.
        report: called with the metrics of every step: loss, rate, step, of, speed (seconds of audio a
            second), words (a second), left (seconds).
        judge: evaluates the averaged weights after each epoch; "qualify" and "stop" end the run.
        bfloat16: compute in it; None: where the device does so natively. Weights and optimizer stay float32.

    Raises:
        CorpusError: no clip of a usable length, or none that the teacher's text fits.
        UsageError: `work` holds another run.
        TrainingError: the loss is not finite.
    """
    chosen = [clip for clip in clips if usable(clip)]
    if not chosen:
        raise CorpusError(
            f"Wanted clips of {SHORTEST_CLIP_S:g} to {LONGEST_CLIP_S:g} s, found none among {len(clips)}."
        )
    work.mkdir(parents=True, exist_ok=True)
    run = _Training(
        teacher,
        student,
        chosen,
        noises,
        recipe,
        work,
        labels,
        device,
        has_bfloat16(device) if bfloat16 is None else bfloat16,
        masks or {},
    )
    run.resume()
    run.train(report, judge)
    if run.learned == 0:
        raise CorpusError(
            f"None of the {len(chosen)} clips has a teacher's text that ends, repeats nothing and fits "
            "the given text; wanted speech in the teacher's language."
        )
    return run.result()


class _Training:
    def __init__(
        self,
        teacher: Checkpoint,
        student: Checkpoint,
        clips: Sequence[Clip],
        noises: Sequence[np.ndarray],
        recipe: DistillRecipe,
        work: Path,
        labels: Path | None,
        device: str,
        bfloat16: bool,
        masks: Mapping[str, Tensor],
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.clips, self.work = recipe, clips, work
        self.student, self.device, self.bfloat16 = student, device, bfloat16
        self.masks = {name: mask.to(device) for name, mask in masks.items()}
        self.labels = LabelCache(labels or work / "labels", teacher, device, bfloat16)
        self.loader = Loader(teacher, student, clips, noises, recipe, self.labels)
        network = student.network()
        self.network = (network if recipe.qat is None else prepare_qat(network, recipe.qat)).to(device).train()
        self.network.frontend = TrainingFrontend(self.network.frontend, recipe.augment.masked)
        self.guide, self.tutor = self._guide(), self._tutor(teacher)
        self.averaged = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.optimizer = torch.optim.AdamW(
            _trained(self.network, recipe.only), lr=recipe.rate, weight_decay=recipe.weight_decay
        )
        self.step, self.audio, self.learned, self.judged, self.ended = 0, 0.0, 0, 0, False
        self.total = len(self.loader.steps(0)) * recipe.epochs
        names = [[str(clip.audio), clip.text, clip.duration] for clip in clips]
        self.identity = hashlib.sha256(
            json.dumps(
                [
                    key(recipe),
                    names,
                    len(noises),
                    fingerprint(teacher),
                    fingerprint(student),
                    {name: float(mask.sum()) for name, mask in masks.items()},
                ]
            ).encode()
        ).hexdigest()

    def _guide(self) -> Whisper | None:
        """The network as the training began, where the streaming states are led to its own."""
        streaming = self.recipe.streaming
        if streaming is None or streaming.hidden == 0:
            return None
        guide = self.student.network().to(self.device).requires_grad_(False)
        guide.frontend = TrainingFrontend(guide.frontend)
        return guide

    def _tutor(self, teacher: Checkpoint) -> Whisper | None:
        """The teacher's network, where the student's states are led to its own."""
        if self.recipe.hidden == 0:
            return None
        wide, narrow = teacher.dims.state, self.student.dims.state
        if wide != narrow:
            raise UsageError(
                f"distill.hidden: wanted a student whose states are as wide as the teacher's, {wide}, "
                f"found {narrow}; leave it at 0."
            )
        return teacher.network().to(self.device).requires_grad_(False)

    def result(self) -> Checkpoint:
        """The averaged weights so far."""
        keep = self.recipe.keep
        weights = {name: value.detach().to("cpu", copy=True) for name, value in self.averaged.items()}
        if keep:
            weights = {name: value.lerp(self.student.weights[name], keep) for name, value in weights.items()}
        through = "" if self.recipe.qat is None else f", through {self.recipe.qat.bits}-bit rounding"
        kept = f", {keep:.0%} of the weights before" if keep else ""
        zeros = f", zeros kept in {len(self.masks)} matrices" if self.masks else ""
        note = (
            f"short-context distillation: {len(self.clips)} clips, {self.step} steps, {self.audio / 3600:.1f} h of "
            f"audio, seed {self.recipe.seed}{through}{zeros}{kept}"
        )
        return Checkpoint(
            self.student.dims,
            weights,
            self.student.vocabulary,
            self.student.alignment_heads,
            (*self.student.provenance, note),
        )

    # -- state on disk -----------------------------------------------------------------------------

    def save(self) -> None:
        path = self.work / "state.pt"
        temporary = path.with_suffix(".partial")
        state = {
            "identity": self.identity,
            "step": self.step,
            "audio": self.audio,
            "learned": self.learned,
            "judged": self.judged,
            "ended": self.ended,
            "network": self.network.state_dict(),
            "averaged": self.averaged,
            "optimizer": self.optimizer.state_dict(),
        }
        try:
            torch.save(state, temporary)
        except (OSError, RuntimeError) as error:  # a full disk is a RuntimeError of torch's writer
            temporary.unlink(missing_ok=True)
            why = error.strerror if isinstance(error, OSError) else "the disk may be full"
            raise OutputError(
                f"{path} cannot be written ({why}); make room and run again: it goes on from the last saved step."
            ) from None
        os.replace(temporary, path)

    def resume(self) -> None:
        """Goes on from state.pt; metrics of steps after it are dropped, they will be done again."""
        path, metrics = self.work / "state.pt", self.work / "metrics.jsonl"
        if path.exists():
            state = torch.load(path, weights_only=True, map_location=self.device)
            if state.get("identity") != self.identity:
                raise UsageError(
                    f"{path} is of a run with another recipe, corpus or model; remove it, "
                    "or choose another work folder."
                )
            for name in ("step", "audio", "learned", "judged", "ended", "averaged"):
                setattr(self, name, state[name])
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
        if metrics.exists():
            rows = [line for line in metrics.read_text().splitlines(keepends=True) if _step_of(line) <= self.step]
            write_whole(metrics, "".join(rows))

    # -- steps ---------------------------------------------------------------------------------------

    def train(self, report: Callable[[dict[str, Any]], None], judge: Callable[[Checkpoint], Verdict] | None) -> None:
        saved = began = time.monotonic()
        first = self.step
        self.labels.load()  # here: on the thread that prepares batches it would draw from torch's generator
        with (self.work / "metrics.jsonl").open("a") as metrics:
            for epoch in range(self.recipe.epochs):
                if self.ended:
                    break
                groups = self.loader.steps(epoch)
                todo = range(max(0, self.step - epoch * len(groups)), len(groups))  # the others were done before a cut
                at = time.monotonic()
                for number, prepared in self.loader.ahead((epoch * len(groups) + k + 1, groups[k]) for k in todo):
                    values, seconds, words = self._learn(prepared, number)
                    self.step, now = number, time.monotonic()
                    values.update(
                        step=number,
                        of=self.total,
                        speed=round(seconds / (now - at), 2),
                        words=round(words / (now - at), 2),
                        left=round((now - began) / (number - first) * (self.total - number)),
                    )
                    at = now
                    _write(metrics, values)
                    report(values)
                    if now - saved > self.recipe.save_every:
                        self.save()
                        saved = time.monotonic()
                if judge is not None and self.judged <= epoch:
                    verdict = judge(self.result())
                    self.judged, self.ended = epoch + 1, verdict.decision != "train on"
                    _write(
                        metrics,
                        {"step": self.step, "decision": verdict.decision, "reason": verdict.reason, **verdict.metrics},
                    )
                    self.save()
        self.save()

    def _learn(self, prepared: list[Batch], number: int) -> tuple[dict[str, Any], float, int]:
        """One step of the optimizer: metrics, seconds of audio, words."""
        recipe = self.recipe
        if not prepared:
            return {"loss": None, "rate": 0.0}, 0.0, 0
        torch.manual_seed(int(np.random.SeedSequence((recipe.seed, 2, number)).generate_state(1)[0]))
        everything = sum(batch.wanted.count for batch in prepared)
        self.optimizer.zero_grad(set_to_none=True)
        loss = 0.0
        parts: Counter[str] = Counter()
        for batch in prepared:
            # each batch weighs by its tokens, so that accumulating equals one larger batch
            share = batch.wanted.count / everything
            terms = self._loss(batch)
            part = sum(terms.values()) * share
            part.backward()
            loss += float(part.detach())
            parts.update({name: float(term.detach()) * share for name, term in terms.items()})
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss of step {number} is {loss}; lower distill.rate (now {recipe.rate:g}) and "
                "run again: it goes on from the last saved step."
            )
        rate = recipe.rate * schedule(number, recipe.warmup, self.total)
        for options in self.optimizer.param_groups:
            options["lr"] = rate
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip_norm)
        self.optimizer.step()
        apply_masks(self.network, self.masks)
        decay = min(recipe.average, number / (number + 10))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.averaged[name].lerp_(value, 1 - decay)
        seconds = sum(float(batch.lengths.sum()) for batch in prepared) / SAMPLE_RATE
        self.audio += seconds
        self.learned += sum(len(batch.lengths) for batch in prepared)
        values = {"loss": round(loss, 4), "rate": rate}
        if len(parts) > 1:
            values.update({name: round(value, 4) for name, value in parts.items()})
        return values, seconds, sum(batch.wanted.words for batch in prepared)

    def _loss(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of the loss by name, weighted."""
        recipe, network = self.recipe, self.network
        pcm, lengths, wanted = (x.to(self.device) for x in (batch.pcm, batch.lengths, batch.wanted))
        with precision(self.device, self.bfloat16):
            states, at = self._heard(batch, pcm, lengths)
            count = pcm.shape[1] // SAMPLES_PER_POSITION
            audio = states if batch.chunking is None else without_look_ahead(states, batch.chunking)[:, :count]
            mask = padding(torch.arange(count, device=self.device), lengths, SAMPLES_PER_POSITION)
            says = recipe.soft + recipe.hard > 0
            logits = network.decoder(wanted.tokens, audio, mask)[0] if says else None
            symbols = None if network.ctc is None else network.ctc(audio)
            with torch.no_grad():
                led = self._led(batch, pcm, lengths)
                taught = None if self.tutor is None else self._taught(self.tutor, pcm, audio.shape[1])
        terms = {}
        if logits is not None:
            terms["text"] = distillation_loss(logits.float(), wanted, recipe.soft, recipe.hard, recipe.temperature)
        streaming = recipe.streaming
        if streaming is not None and streaming.ctc > 0 and symbols is not None:
            terms["ctc"] = streaming.ctc * ctc_loss(symbols.float(), lengths, batch.spoken)
        if led is not None and streaming is not None:
            block_mask = padding(at, lengths, SAMPLES_PER_POSITION)
            terms["hidden"] = streaming.hidden * distance(states, led[:, at.clamp(max=count - 1)], block_mask)
        if taught is not None:
            terms["states"] = recipe.hidden * distance(audio, taught, mask)
        return terms

    def _heard(self, batch: Batch, pcm: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """States and their positions, see `Whisper.encode_chunks`; of clips heard whole (batch, n, state) and (n,)."""
        if batch.chunking is not None:
            return self.network.encode_chunks(pcm, lengths, batch.chunking, batch.start)
        states, _ = self.network.encode(pcm, lengths)
        return states, torch.arange(states.shape[1], device=self.device)

    def _led(self, batch: Batch, pcm: Tensor, lengths: Tensor) -> Tensor | None:
        """The states of the network as the training began, where the batch is led to them."""
        streaming = self.recipe.streaming
        if self.guide is None or streaming is None or (batch.chunking is None and not streaming.steady):
            return None
        return self.guide.encode(pcm, lengths)[0]

    @staticmethod
    def _taught(tutor: Whisper, pcm: Tensor, count: int) -> Tensor:
        """The teacher's first `count` states of recordings in 30 s of silence."""
        return tutor.encode(F.pad(pcm, (0, CONTEXT - pcm.shape[1])))[0][:, :count]


def _trained(network: Whisper, only: Sequence[str]) -> list[torch.nn.Parameter]:
    """The parameters that `only` names, or all; the others get no gradient.

    Raises:
        UsageError: a pattern names none; with the nearest name.
    """
    parameters = dict(network.named_parameters())
    chosen = choose(parameters, only, "distill.only", "weight") if only else list(parameters)
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in chosen)
    return [parameters[name] for name in chosen]


def schedule(step: int, warmup: int, total: int) -> float:
    """Factor of the learning rate: linear warm-up to 1, then a cosine down to 0.1 at `total`."""
    if step < warmup:
        return step / warmup
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    return LOWEST_RATE + (1 - LOWEST_RATE) * 0.5 * (1 + math.cos(math.pi * done))


def _write(metrics: TextIO, values: Mapping[str, Any]) -> None:
    metrics.write(json.dumps(values) + "\n")
    metrics.flush()


def _step_of(line: str) -> float:
    """The step of a line of metrics; infinite where a kill cut the line short."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):
        return math.inf
