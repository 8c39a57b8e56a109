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
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compress.data.augment import prepare_frontend
from compress.data.corpus import LONGEST_CLIP_S, SHORTEST_CLIP_S, CorpusError, usable
from compress.data.labels import LabelCache, has_bfloat16
from compress.distill import state, training_log
from compress.distill.changes import added, trained_parameters
from compress.distill.early_stopping import Verdict
from compress.distill.loader import Batch, Loader
from compress.distill.losses import BatchLoss
from compress.distill.memory import keep_memory
from compress.distill.settings import DistillSettings
from compress.distill.state import Position
from compress.networks.checkpoint import Checkpoint
from compress.prune.magnitude import apply_masks
from compress.quantize.qat import prepare_qat
from compress.settings import key
from device_asr.audio.format import SAMPLE_RATE
from device_asr.errors import DeviceAsrError
from device_asr.metrics.clips import Clip

LOWEST_RATE = 0.1  # of the highest: where the cosine ends


class TrainingError(DeviceAsrError):
    """The training cannot go on."""


@dataclass(frozen=True)
class Run:
    """Where a training run computes and keeps its files, and which weights stay zero.

    work: folder for state.pt and metrics.jsonl; a run that was cut goes on from there.
    labels: folder of the teacher's labels, which other runs may share; None: in `work`.
    masks: weights that stay zero, see `prune.masks`.
    bfloat16: compute in it; None: where the device does so natively. Weights and optimizer stay float32.
    """

    work: Path
    labels: Path | None = None
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    device: str = "cpu"
    bfloat16: bool | None = None

    @property
    def computes_in_bfloat16(self) -> bool:
        return has_bfloat16(self.device) if self.bfloat16 is None else self.bfloat16


def distill(
    teacher: Checkpoint,
    student: Checkpoint,
    clips: Sequence[Clip],
    noises: Sequence[np.ndarray],
    settings: DistillSettings,
    run: Run,
    report: Callable[[dict[str, Any]], None],
    early_stopping: Callable[[Checkpoint], Verdict] | None = None,
) -> Checkpoint:
    """Trains `student` on the teacher's labels, written in its own vocabulary; returns its averaged weights.

    Args:
        noises: background recordings, (n,) float32 at 16 kHz.
        report: called with the metrics of every step: loss, rate, step, of, speed (seconds of audio a
            second), words (a second), left (seconds).
        early_stopping: evaluates the averaged weights after each epoch; "qualify" and "stop" end the run.

    Raises:
        CorpusError: no clip of a usable length, or none that the teacher's text fits.
        UsageError: `run.work` holds another run, or the settings do not fit the student.
        TrainingError: the loss is not finite.
    """
    chosen = [clip for clip in clips if usable(clip)]
    if not chosen:
        raise CorpusError(
            f"Wanted clips of {SHORTEST_CLIP_S:g} to {LONGEST_CLIP_S:g} s, found none among {len(clips)}."
        )
    run.work.mkdir(parents=True, exist_ok=True)
    keep_memory()
    trainer = Trainer(teacher, student, chosen, noises, settings, run)
    trainer.resume()
    trainer.train(report, early_stopping)
    if trainer.position.learned == 0:
        raise CorpusError(
            f"None of the {len(chosen)} clips has a teacher's text that ends, repeats nothing and fits "
            "the given text; wanted speech in the teacher's language."
        )
    return trainer.result()


class Trainer:
    """One run: the network that is trained, its averaged weights, its optimizer, and how far it is.

    Args: see `distill`.
    """

    def __init__(
        self,
        teacher: Checkpoint,
        student: Checkpoint,
        clips: Sequence[Clip],
        noises: Sequence[np.ndarray],
        settings: DistillSettings,
        run: Run,
    ) -> None:
        torch.manual_seed(settings.seed)
        device, bfloat16 = run.device, run.computes_in_bfloat16
        self.settings, self.clips, self.work = settings, clips, run.work
        self.student, self.device = student, device
        self.masks = {name: mask.to(device) for name, mask in run.masks.items()}
        self.labels = LabelCache(run.labels or run.work / "labels", teacher, device, bfloat16)
        self.loader = Loader(teacher, student, clips, noises, settings, self.labels)
        network = student.network()
        self.network = (network if settings.qat is None else prepare_qat(network, settings.qat)).to(device).train()
        self.trained = trained_parameters(self.network, settings, run.masks)
        prepare_frontend(self.network, settings.augment.masked)
        self.loss = BatchLoss(self.network, student, teacher, settings, device, bfloat16)
        self.averaged = {name: value.detach().clone() for name, value in self.trained.items()}
        self.optimizer = torch.optim.AdamW(self.trained.values(), lr=settings.rate, weight_decay=settings.weight_decay)
        self.position = Position()
        self.each = len(self.loader.steps(0))  # steps of an epoch
        every = self.each * settings.epochs
        self.total = min(every, settings.steps) if settings.steps else every
        names = [[str(clip.audio), clip.text, clip.duration] for clip in clips]
        zeros = {name: float(mask.sum()) for name, mask in run.masks.items()}
        facts = [key(settings), names, len(noises), teacher.key(), student.key(), zeros]
        self.identity = hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def result(self) -> Checkpoint:
        """The averaged weights so far."""
        settings, position = self.settings, self.position
        averaged = {name: value.detach().to("cpu", copy=True) for name, value in self.averaged.items()}
        weights = added(self.student.weights, averaged)
        if settings.keep:
            weights = {name: value.lerp(self.student.weights[name], settings.keep) for name, value in weights.items()}
        through = "" if settings.qat is None else f", through {settings.qat.bits}-bit rounding"
        kept = f", {settings.keep:.0%} of the weights before" if settings.keep else ""
        changes = f", as changes of rank {settings.rank}" if settings.rank else ""
        zeros = f", zeros kept in {len(self.masks)} matrices" if self.masks else ""
        note = (
            f"short-context distillation: {len(self.clips)} clips, {position.step} steps, "
            f"{position.audio / 3600:.1f} h of audio, seed {settings.seed}{through}{changes}{zeros}{kept}"
        )
        return replace(self.student, weights=weights, provenance=(*self.student.provenance, note))

    def save(self) -> None:
        """Writes the state of the run; see `state.save`."""
        tensors = {
            "network": {name: value.detach() for name, value in self.trained.items()},
            "averaged": self.averaged,
            "optimizer": self.optimizer.state_dict(),
        }
        state.save(self.work, self.identity, self.position, tensors)

    def resume(self) -> None:
        """Goes on from the saved state; rows of the log that are after it are dropped, as their steps are done again.

        Raises:
            UsageError: the state is that of another run.
        """
        found = state.load(self.work, self.identity, self.device)
        if found is not None:
            self.position, tensors = found
            self.averaged = tensors["averaged"]
            for name, value in tensors["network"].items():
                self.trained[name].data.copy_(value)
            self.optimizer.load_state_dict(tensors["optimizer"])
        training_log.drop_after(self.work, self.position.step)

    def train(
        self,
        report: Callable[[dict[str, Any]], None],
        early_stopping: Callable[[Checkpoint], Verdict] | None,
    ) -> None:
        """Trains from the present position to the last epoch, or to the one after which `early_stopping` ends the run.

        Raises:
            TrainingError: the loss is not finite. OutputError: the state cannot be written.
        """
        saved = began = time.monotonic()
        first = self.position.step
        if self.loader.labeled:
            self.labels.load()  # here: on the thread that prepares batches it would draw from torch's generator
        for epoch in range(self.settings.epochs):
            if self.position.ended or epoch * self.each >= self.total:
                break
            at = time.monotonic()
            for number, prepared in self.loader.prefetch(self._remaining(epoch)):
                values, seconds, words = self.learn(prepared, number)
                self.position.step, now = number, time.monotonic()
                values.update(
                    step=number,
                    of=self.total,
                    speed=round(seconds / (now - at), 2),
                    words=round(words / (now - at), 2),
                    left=round((now - began) / (number - first) * (self.total - number)),
                )
                at = now
                training_log.append(self.work, values)
                report(values)
                if now - saved > self.settings.save_every:
                    self.save()
                    saved = time.monotonic()
            if early_stopping is not None and self.position.evaluated <= epoch:
                self._evaluate(epoch, early_stopping)
        self.save()

    def _remaining(self, epoch: int) -> list[tuple[int, list[list[int]]]]:
        """The steps of an epoch that were not done before a cut: each one's number and the clips of its batches."""
        groups = self.loader.steps(epoch)
        done = epoch * len(groups)
        last = min(len(groups), self.total - done)
        return [(done + k + 1, groups[k]) for k in range(max(0, self.position.step - done), last)]

    def _evaluate(self, epoch: int, early_stopping: Callable[[Checkpoint], Verdict]) -> None:
        """Asks for the verdict on an epoch, writes it to the log, and saves the state."""
        verdict = early_stopping(self.result())
        self.position.evaluated, self.position.ended = epoch + 1, verdict.decision != "train on"
        training_log.append(
            self.work,
            {"step": self.position.step, "decision": verdict.decision, "reason": verdict.reason, **verdict.metrics},
        )
        self.save()

    def learn(self, prepared: Sequence[Batch], number: int) -> tuple[dict[str, Any], float, int]:
        """One step of the optimizer: its metrics, seconds of audio, and words.

        Raises:
            TrainingError: the loss is not finite.
        """
        settings = self.settings
        if not prepared:
            return {"loss": None, "rate": 0.0}, 0.0, 0
        torch.manual_seed(int(np.random.SeedSequence((settings.seed, 2, number)).generate_state(1)[0]))
        self.optimizer.zero_grad(set_to_none=True)
        loss, terms = self._backward(prepared)
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss of step {number} is {loss}; lower distill.rate (now {settings.rate:g}) and "
                "run again: it goes on from the last saved step."
            )
        rate = settings.rate * schedule(number, settings.warmup, self.total)
        for options in self.optimizer.param_groups:
            options["lr"] = rate
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip_norm)
        self.optimizer.step()
        apply_masks(self.network, self.masks)
        self._average(min(settings.average, number / (number + 10)))
        seconds = sum(float(batch.lengths.sum()) for batch in prepared) / SAMPLE_RATE
        self.position.audio += seconds
        self.position.learned += sum(len(batch.lengths) for batch in prepared)
        values = {"loss": round(loss, 4), "rate": rate}
        if len(terms) > 1:
            values.update({name: round(value, 4) for name, value in terms.items()})
        return values, seconds, sum(batch.words for batch in prepared)

    def _backward(self, prepared: Sequence[Batch]) -> tuple[float, Mapping[str, float]]:
        """Adds the gradients of the batches; their loss, and its terms by name.

        Each batch counts by its tokens, so that accumulating equals one larger batch.
        """
        everything = sum(batch.weight for batch in prepared)
        loss, parts = 0.0, dict[str, float]()
        for batch in prepared:
            share = batch.weight / everything
            terms = self.loss(batch)
            part = reduce(torch.add, terms.values()) * share
            part.backward()
            loss += float(part.detach())
            for name, term in terms.items():
                parts[name] = parts.get(name, 0.0) + float(term.detach()) * share
        return loss, parts

    def _average(self, decay: float) -> None:
        """Moves the averaged weights toward the present ones."""
        with torch.no_grad():
            for name, value in self.trained.items():
                self.averaged[name].lerp_(value, 1 - decay)


def schedule(step: int, warmup: int, total: int) -> float:
    """Factor of the learning rate: linear warm-up to 1, then a cosine down to 0.1 at `total`."""
    if step < warmup:
        return step / warmup
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    return LOWEST_RATE + (1 - LOWEST_RATE) * 0.5 * (1 + math.cos(math.pi * done))
