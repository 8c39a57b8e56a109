"""The training loop: short-context distillation of a student to its teacher's full-context text.

The teacher always saw 30 s; on an unpadded phrase it does not know where to stop. The student is
given the phrase with 0 to 1 s of room around it, cut in mid-speech at times, and learns the teacher's
text of the 30 s window, its end included. Resumable: weights, averages, optimiser, position and random
state are saved together.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from compress.checkpoints import Checkpoint
from compress.corpus import Clip, CorpusError, batches, pad, read_clip
from compress.frontend import SAMPLE_RATE
from compress.teacher import CONTEXT, Label, LabelCache
from device_asr.errors import UsageError


@dataclass(frozen=True)
class DistillRecipe:
    """Settings of a training run; fractions are of clips, seconds of sound.

    soft, hard: weights of the KL term on the teacher's best tokens and of the cross-entropy on its text.
    lead, tail: most room tone before and after a clip. cut: fraction cut in mid-speech.
    noise: fraction mixed with background noise at 5 to 30 dB. average: decay of the averaged weights.
    """

    epochs: int = 1
    batch: int = 8
    rate: float = 1e-5
    warmup: int = 20
    soft: float = 0.7
    hard: float = 0.3
    lead: float = 0.4
    tail: float = 1.0
    cut: float = 0.15
    noise: float = 0.3
    average: float = 0.98
    clip_norm: float = 1.0
    seed: int = 0
    save_every: float = 120.0

    def __post_init__(self) -> None:
        for name in ("cut", "noise", "average"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"distill.{name}: wanted a number in [0, 1), found {getattr(self, name)}.")
        for name in ("epochs", "batch", "rate", "save_every"):
            if getattr(self, name) <= 0:
                raise UsageError(f"distill.{name}: wanted more than 0, found {getattr(self, name)}.")


def distill(teacher: Checkpoint, student: Checkpoint, clips: Sequence[Clip], noises: Sequence[np.ndarray],
            recipe: DistillRecipe, work: Path, report: Callable[[dict[str, Any]], None]) -> Checkpoint:
    """Trains `student` (of the teacher's vocabulary) on the teacher's labels; returns its averaged weights.

    Args:
        noises: background sounds, (n,) float32 at 16 kHz.
        work: folder for labels, state and metrics.jsonl; a run that was cut goes on from there.
        report: called with the metrics of every step.

    Raises:
        CorpusError: no clip of 0.5 to 29 s.
    """
    usable = [clip for clip in clips if 0.5 <= clip.duration <= 29.0]
    if not usable:
        raise CorpusError(f"Wanted clips of 0.5 to 29 s, found none among {len(clips)}.")
    torch.manual_seed(recipe.seed)
    run = _Training(teacher, student, usable, noises, recipe, work)
    run.resume()
    run.train(report)
    done = (*student.provenance, f"short-context distillation: {len(usable)} clips, {recipe.epochs} epoch(s), "
                                 f"{run.audio / 3600:.1f} h of sound, seed {recipe.seed}")
    return Checkpoint(student.dims, run.averaged, student.vocabulary, student.alignment_heads, done)


class _Training:
    def __init__(self, teacher: Checkpoint, student: Checkpoint, clips: Sequence[Clip],
                 noises: Sequence[np.ndarray], recipe: DistillRecipe, work: Path) -> None:
        self.recipe, self.clips, self.noises, self.work = recipe, clips, noises, work
        self.labels = LabelCache(work / "labels", teacher)
        self.vocabulary = student.vocabulary
        self.network = student.network().train()
        self.averaged = {k: v.clone() for k, v in self.network.state_dict().items()}
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=recipe.rate, weight_decay=0.01)
        self.step, self.audio = 0, 0.0
        per_epoch = len(list(batches([c.duration for c in clips], recipe.batch, np.random.default_rng(0))))
        self.total = per_epoch * recipe.epochs

    @property
    def _state(self) -> Path:
        return self.work / "state.pt"

    def save(self) -> None:
        temporary = self._state.with_suffix(".partial")
        torch.save({"step": self.step, "audio": self.audio, "network": self.network.state_dict(),
                    "averaged": self.averaged, "optimiser": self.optimiser.state_dict(),
                    "recipe": asdict(self.recipe)}, temporary)
        temporary.replace(self._state)

    def resume(self) -> None:
        if not self._state.exists():
            return
        state = torch.load(self._state, weights_only=True)
        if state["recipe"] != asdict(self.recipe):
            return  # another recipe: start anew, the labels stay
        self.step, self.audio, self.averaged = state["step"], state["audio"], state["averaged"]
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])

    def train(self, report: Callable[[dict[str, Any]], None]) -> None:
        recipe, saved, number = self.recipe, time.monotonic(), 0
        with (self.work / "metrics.jsonl").open("a") as metrics:
            for epoch in range(recipe.epochs):
                order = batches([c.duration for c in self.clips], recipe.batch,
                                np.random.default_rng((recipe.seed, epoch)))
                for group in order:
                    number += 1
                    if number <= self.step:
                        continue  # done before the cut; each step's randomness depends on its number alone
                    began = time.monotonic()
                    values = self._learn(group, number)
                    self.step = number
                    values.update(step=number, of=self.total, speed=values.pop("sound") / (time.monotonic() - began))
                    metrics.write(json.dumps(values) + "\n")
                    report(values)
                    if time.monotonic() - saved > recipe.save_every:
                        self.save()
                        saved = time.monotonic()
        self.save()

    def _learn(self, group: list[int], number: int) -> dict[str, Any]:
        recipe = self.recipe
        rng = np.random.default_rng((recipe.seed, 1, number))
        sounds = []
        for index in group:
            sound = read_clip(self.clips[index])[: CONTEXT - SAMPLE_RATE]
            if rng.random() < recipe.cut and len(sound) > 2 * SAMPLE_RATE:
                sound = sound[: int(rng.uniform(SAMPLE_RATE, len(sound)))]
            sounds.append(sound)
        labels = self.labels.labels(sounds)
        kept = [i for i, label in enumerate(labels) if label.ended and len(label.tokens) > 0]
        self.audio += sum(len(sound) for sound in sounds) / SAMPLE_RATE
        if not kept:
            return {"loss": None, "sound": 0.0}
        heard = [self._surround(sounds[i], rng) for i in kept]
        pcm, lengths = pad(heard)
        loss = self._loss(torch.from_numpy(pcm), torch.from_numpy(lengths), [labels[i] for i in kept])
        for group_ in self.optimiser.param_groups:
            group_["lr"] = recipe.rate * self._schedule(number)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip_norm)
        self.optimiser.step()
        decay = min(recipe.average, number / (number + 10))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.averaged[name].lerp_(value, 1 - decay)
        return {"loss": round(float(loss.detach()), 4), "sound": sum(len(h) for h in heard) / SAMPLE_RATE}

    def _schedule(self, number: int) -> float:
        recipe = self.recipe
        if number < recipe.warmup:
            return number / recipe.warmup
        done = (number - recipe.warmup) / max(1, self.total - recipe.warmup)
        return 0.1 + 0.45 * (1 + float(np.cos(np.pi * done)))

    def _surround(self, sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Room before and after, background noise, another gain."""
        recipe = self.recipe
        lead, tail = (int(rng.uniform(0, most) * SAMPLE_RATE) for most in (recipe.lead, recipe.tail))
        padded = np.pad(sound, (lead, tail))
        if rng.random() < 0.5:  # faint room tone instead of digital silence
            padded = padded + rng.normal(0, 10 ** rng.uniform(-4.5, -3), len(padded)).astype(np.float32)
        if self.noises and rng.random() < recipe.noise:
            noise = self.noises[rng.integers(len(self.noises))]
            noise = np.resize(np.roll(noise, int(rng.integers(len(noise)))), len(padded))
            power = float(np.mean(sound**2)) / max(float(np.mean(noise**2)), 1e-12)
            padded = padded + noise * np.sqrt(power * 10 ** (-rng.uniform(5, 30) / 10))
        gain = 10 ** (rng.uniform(-12, 6) / 20)
        return np.clip(padded * gain, -1, 1).astype(np.float32)

    def _loss(self, pcm: Tensor, lengths: Tensor, labels: Sequence[Label]) -> Tensor:
        prompt, end = self.vocabulary.prompt, self.vocabulary.end
        width = max(len(label.tokens) for label in labels) + 1
        tokens = torch.full((len(labels), len(prompt) + width - 1), end)
        target = torch.full((len(labels), width), -100)
        best = torch.zeros(len(labels), width, labels[0].best.shape[1], dtype=torch.int64)
        logprobs = torch.full(best.shape, -60.0)
        for row, label in enumerate(labels):
            n = len(label.tokens)
            text = torch.from_numpy(label.tokens.astype(np.int64))
            tokens[row, : len(prompt)] = torch.tensor(prompt)
            tokens[row, len(prompt) : len(prompt) + n] = text
            target[row, :n], target[row, n] = text, end
            best[row, : n + 1] = torch.from_numpy(label.best[: n + 1].astype(np.int64))
            logprobs[row, : n + 1] = torch.from_numpy(label.logprobs[: n + 1].astype(np.float32))
        logits = self.network(pcm, tokens, lengths)[:, len(prompt) - 1 :]
        valid = target >= 0
        ours = torch.log_softmax(logits[valid], dim=-1)
        wanted = torch.softmax(logprobs[valid], dim=-1)
        soft = -(wanted * ours.gather(1, best[valid])).sum(-1).mean()
        return self.recipe.soft * soft + self.recipe.hard * F.nll_loss(ours, target[valid])
